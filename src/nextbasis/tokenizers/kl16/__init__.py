"""KL-16: the autoencoder of latent diffusion (Rombach et al. 2022) as retrained for MAR."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="kl16", tokens="numbers", posterior=True)
