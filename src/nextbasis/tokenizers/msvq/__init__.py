"""Patches as ids of several grids that add up, coarse to fine: VAR's tokens without a network."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="msvq", tokens="ids")
