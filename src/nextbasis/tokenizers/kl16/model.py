"""KL-16 exactly as MAR and xAR use it: images to the moments of a Gaussian and back.

The autoencoder of latent diffusion (Rombach et al. 2022, appendix) as retrained for MAR (Li et al.
2024). Its tensors have the names of the published checkpoint, so that it loads without a key map.
"""

from nextbasis.tokenizers.common.autoencoder import (
    AutoencoderTokenizer,
    Decoder,
    Encoder,
    PosteriorAutoencoder,
)
from nextbasis.tokenizers.common.blocks import level_widths
from nextbasis.tokenizers.kl16.config import KL16Config, KL16TokenizerConfig


class KL16Autoencoder(PosteriorAutoencoder):
    """encode: images -> moments of a Gaussian; decode: its draws, scaled -> images.

    Differs from MAR's evaluation: that decodes in half precision; the caller chooses it here.
    """

    def __init__(self, config: KL16Config) -> None:
        """Build untrained networks."""
        widths, latents = level_widths(config), config.latent_channels
        encoder = Encoder(
            config.image_channels,
            config.width,
            widths,
            config.num_blocks,
            2 * latents,
            attention=config.encoder_attention,
        )
        decoder = Decoder(
            latents,
            widths,
            config.num_blocks,
            config.image_channels,
            attention=config.decoder_attention,
        )
        super().__init__(encoder, decoder, latents, config.scale)


class KL16Tokenizer(AutoencoderTokenizer):
    """encode: images -> tokens (b n d); decode: back; training draws tokens from `moments`."""

    def __init__(self, config: KL16TokenizerConfig, image_size: int, image_channels: int) -> None:
        """Build the network without its weights, for square images."""
        sizes = config.network
        super().__init__(sizes.grid(image_size, image_channels), KL16Autoencoder(sizes))


NETWORK, TOKENIZER = KL16Autoencoder, KL16Tokenizer
