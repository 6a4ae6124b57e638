"""The VQ-16 and VQ-8 of LlamaGen (Sun et al. 2024), also PAR's tokenizer."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="llamagen_vq", tokens="ids")
