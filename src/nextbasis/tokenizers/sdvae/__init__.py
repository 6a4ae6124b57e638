"""The autoencoder of Stable Diffusion (Rombach et al. 2022), of DiT, SiT, REPA and MDTv2."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="sdvae", tokens="numbers", posterior=True)
