"""MaskGIT-VQGAN (Chang et al. 2022) in the PyTorch form of RAR."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="maskgit_vqgan", tokens="ids")
