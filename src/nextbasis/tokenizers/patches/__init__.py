"""Pixels, standardised; exactly invertible."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="patches", tokens="numbers")
