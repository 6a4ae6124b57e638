"""VAR's multi-scale VQ-VAE (Tian et al. 2024): ids of several grids that add up to one map."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="var_vqvae", tokens="ids")
