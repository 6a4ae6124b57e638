"""An autoencoder trained here, whose latents are smooth and standardised."""

from nextbasis.tokenizers.kinds import Kind

TOKENIZER = Kind(name="kl", tokens="numbers")
