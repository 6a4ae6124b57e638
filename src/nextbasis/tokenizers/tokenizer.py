"""What every tokenizer is: how many tokens of what, encode and decode."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.data.posterior import Posterior

Units = tuple[list[float], list[float]]


class Tokenizer(nn.Module):
    """Images in [-1, 1] to tokens in raster order and back, without gradients."""

    grid: tuple[int, int]  # rows and columns of tokens
    channels: int  # numbers of a token; of ids, those of a code
    codebook_size: int = 0  # 0: tokens are numbers

    @abstractmethod
    def encode(self, images: Float[Tensor, "b c h w"]) -> Tensor:
        """Tokens: numbers (b n d) or ids (b n)."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]."""

    @abstractmethod
    def units(self) -> Units:
        """Mean and scale of each channel: tokens are (latents - mean) * scale; empty for ids."""


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
        return [0.0] * self.channels, [self.scale] * self.channels
