"""Patches of pixels in their leading principal components: linear, and nothing is trained."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="pca", tokens="numbers")
