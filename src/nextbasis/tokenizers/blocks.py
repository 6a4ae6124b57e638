"""What the published networks KL-16 and MaskGIT-VQGAN have in common: widths, norms, resizing."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

GROUPS = 32  # of every group normalisation in both networks
NORM_EPS = 1e-6  # PyTorch's own 1e-5 moves KL-16's output by more than 9e-4 of its maximum


def level_widths(width: int, multipliers: Sequence[int]) -> list[int]:
    """Channels at each level, the image's resolution first; every level below has half of it.

    Raises: ValueError naming tokenizer.width or tokenizer.multipliers.
    """
    if width < 1 or width % GROUPS:
        raise ValueError(f"tokenizer.width must be a positive multiple of {GROUPS}, got {width}")
    if not multipliers or min(multipliers) < 1:
        raise ValueError(f"tokenizer.multipliers must be positive integers, got {multipliers}")
    return [width * multiplier for multiplier in multipliers]


def widths_down(width: int, widths: list[int]) -> list[tuple[int, int]]:
    """Channels before and after each level of an encoder whose first convolution makes `width`."""
    return list(zip([width, *widths[:-1]], widths, strict=True))


def widths_up(widths: list[int]) -> list[tuple[int, int]]:
    """Channels before and after each level of a decoder, which runs from the last to the first."""
    return list(zip([*widths[1:], widths[-1]], widths, strict=True))


def normalise(width: int) -> nn.GroupNorm:
    """Group normalisation as both networks have it."""
    return nn.GroupNorm(GROUPS, width, eps=NORM_EPS)


def conv3(before: int, after: int, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the resolution."""
    return nn.Conv2d(before, after, 3, padding=1, bias=bias)


def double(x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h2 w2"]:
    """Repeat every pixel twice along both axes."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
