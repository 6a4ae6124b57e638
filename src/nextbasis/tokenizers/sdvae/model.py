"""Stable Diffusion's autoencoder as DiT, SiT, REPA and MDTv2 use it: images to moments and back.

The kl-f8 of latent diffusion (Rombach et al. 2022, appendix), whose decoder was trained on. Its
tensors have the names of latent diffusion's checkpoints, so that they load without a key map.
"""

from nextbasis.tokenizers.common.autoencoder import (
    AutoencoderTokenizer,
    Decoder,
    Encoder,
    PosteriorAutoencoder,
)
from nextbasis.tokenizers.sdvae.config import SDVAEConfig, SDVAETokenizerConfig


class SDVAE(PosteriorAutoencoder):
    """encode: images -> moments of a Gaussian; decode: its draws, scaled -> images.

    No level has attention.
    """

    def __init__(self, config: SDVAEConfig) -> None:
        """Build untrained networks."""
        widths, latents, groups = config.widths, config.latent_channels, config.groups
        encoder = Encoder(
            config.image_channels, widths[0], widths, config.num_blocks, 2 * latents, groups=groups
        )
        decoder = Decoder(latents, widths, config.num_blocks, config.image_channels, groups=groups)
        super().__init__(encoder, decoder, latents, config.scale)


class SDVAETokenizer(AutoencoderTokenizer):
    """encode: images -> tokens (b n d); decode: back; training draws tokens from `moments`."""

    def __init__(self, config: SDVAETokenizerConfig, image_size: int, image_channels: int) -> None:
        """Build the network without its weights, for square images."""
        sizes = config.network
        super().__init__(sizes.grid(image_size, image_channels), SDVAE(sizes))


NETWORK, TOKENIZER = SDVAE, SDVAETokenizer
