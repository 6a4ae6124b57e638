"""LlamaGen: a language model's transformer over token ids (Sun et al. 2024)."""

from nextbasis.families.family import Family

FAMILY = Family(name="llamagen", title="LlamaGen", tokens="ids", captions=False)
