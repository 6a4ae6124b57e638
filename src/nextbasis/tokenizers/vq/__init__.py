"""An autoencoder trained here, through a codebook (van den Oord et al. 2017)."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="vq", tokens="ids")
