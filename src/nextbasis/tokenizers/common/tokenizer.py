"""What every tokenizer is: what an image is as tokens, encode and decode."""

from abc import abstractmethod
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.data.layout import TokenLayout
from nextbasis.data.posterior import Posterior

Units = tuple[list[float], list[float]]


class Tokenizer(nn.Module):
    """Images in [-1, 1] to tokens and back, without gradients."""

    layout: TokenLayout

    @abstractmethod
    def encode(self, images: Float[Tensor, "b c h w"]) -> Tensor:
        """Tokens (b, *layout.shape): float32 numbers, int64 ids or bool bits."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]."""

    def fit(self, batches: Iterable[Float[Tensor, "b c h w"]]) -> None:
        """Record what is measured of the training images; most have nothing to."""

    def units(self) -> Units:
        """Mean and scale of each channel, if any: tokens are (latents - mean) * scale."""
        return [], []

    def codes(self) -> dict[str, Tensor]:
        """What ids stand for, for models that are fed it, such as VAR; of most, nothing."""
        return {}


class TrainedTokenizer(Tokenizer):
    """A tokenizer that stage tokenizer trains."""

    @abstractmethod
    def loss(self, images: Float[Tensor, "b c h w"], generator: torch.Generator) -> Tensor:
        """What training minimises, with gradients."""


class PosteriorTokenizer(Tokenizer):
    """A tokenizer whose encoder tells a Gaussian for each number; training draws tokens from it."""

    scale: float  # of all latents

    @abstractmethod
    def moments(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d2"]:
        """Means, then log-variances, of every token's posterior; neither scaled nor clamped."""

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """The posterior's means, scaled, in raster order: what reconstructions are measured of."""
        return Posterior.of(self.moments(images), 2).mean * self.scale

    def units(self) -> Units:
        """One scale for all."""
        return [0.0] * self.layout.size, [self.scale] * self.layout.size
