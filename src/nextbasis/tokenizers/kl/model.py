"""The continuous tokenizer: an autoencoder whose latents are smooth and standardised.

Differs from MAR's KL-16: the posterior's variance is not learned. A fixed noise on standardised
latents with a small penalty on their squares plays the part of the KL term, and each channel has
its own recorded mean and scale where MAR multiplies all by 0.2325.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.conv import Decoder, Encoder
from nextbasis.tokenizers.common.standardise import Standardise
from nextbasis.tokenizers.common.tokenizer import TrainedTokenizer, Units
from nextbasis.tokenizers.kl.config import KLConfig


class KLTokenizer(TrainedTokenizer):
    """encode: images -> standardised tokens (b n d); decode: back."""

    def __init__(self, config: KLConfig, image_size: int, image_channels: int) -> None:
        """Build untrained networks for square images."""
        super().__init__()
        side = image_size // config.downsample
        self.layout = TokenLayout.of_grid((side, side), channels=config.latent_channels)
        self.noise, self.penalty = config.noise, config.penalty
        shape = (image_channels, config.width, config.downsample, config.latent_channels)
        self.encoder, self.decoder = Encoder(*shape), Decoder(*shape)
        self.standardise = Standardise(config.latent_channels)

    def loss(self, images: Float[Tensor, "b c h w"], generator: torch.Generator) -> Tensor:
        """Mean squared error of the reconstruction through noisy latents, plus the penalty."""
        latents = self.encoder(images)
        tokens = F.batch_norm(latents, None, None, training=True)
        noise = torch.randn(tokens.shape, generator=generator, device=tokens.device)
        error = F.mse_loss(self.decoder(tokens + self.noise * noise), images)
        return error + self.penalty * latents.square().mean()

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "b c h w"]]) -> None:
        """Record the mean and the scale of each latent channel over all batches."""
        self.standardise.fit(rearrange(self.encoder(x), "b d h w -> (b h w) d") for x in batches)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Tokens with mean 0 and standard deviation 1 in each channel, in raster order."""
        return self.standardise(rearrange(self.encoder(images), "b d h w -> b (h w) d"))

    @torch.no_grad()
    def decode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]; the decoder was trained on standardised tokens."""
        return self.decoder(rearrange(tokens, "b (h w) d -> b d h w", h=self.layout.grid[0]))

    def units(self) -> Units:
        """Of the standardisation."""
        return self.standardise.units()


TOKENIZER = KLTokenizer
