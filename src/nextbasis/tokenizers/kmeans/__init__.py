"""Patches of pixels as their nearest of some typical patches: nothing is trained by gradients."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="kmeans", tokens="ids")
