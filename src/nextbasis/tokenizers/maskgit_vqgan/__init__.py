"""MaskGIT-VQGAN (Chang et al. 2022) in the PyTorch form of RAR."""

from nextbasis.tokenizers.published import Published

TOKENIZER = Published(name="maskgit_vqgan", tokens="ids")
