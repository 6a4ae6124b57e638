"""Parts of a convolutional autoencoder as latent diffusion and MaskGIT build them."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.tokenizers.common.config import NORM_GROUPS, NetworkSizes

NORM_EPS = 1e-6  # PyTorch's own 1e-5 moves KL-16's output by more than 9e-4 of its maximum


def level_widths(sizes: NetworkSizes) -> list[int]:
    """Channels at each level, the image's resolution first; every level below has half of it."""
    return [sizes.width * multiplier for multiplier in sizes.multipliers]


def widths_down(width: int, widths: list[int]) -> list[tuple[int, int]]:
    """Channels before and after each level of an encoder whose first convolution makes `width`."""
    return list(zip([width, *widths[:-1]], widths, strict=True))


def widths_up(widths: list[int]) -> list[tuple[int, int]]:
    """Channels before and after each level of a decoder, which runs from the last to the first."""
    return list(zip([*widths[1:], widths[-1]], widths, strict=True))


def normalise(width: int) -> nn.GroupNorm:
    """Group normalisation as all of them have it."""
    return nn.GroupNorm(NORM_GROUPS, width, eps=NORM_EPS)


def conv3(before: int, after: int, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the resolution."""
    return nn.Conv2d(before, after, 3, padding=1, bias=bias)


def double(x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h2 w2"]:
    """Repeat every pixel twice along both axes."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
