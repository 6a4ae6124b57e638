"""The convolutional encoder and decoder that the trained tokenizers share.

Differs from KL-16 and MaskGIT-VQGAN: small enough to train in minutes on one core; the networks of
those papers are read from their checkpoints elsewhere.
"""

import math

from einops.layers.torch import Rearrange
from jaxtyping import Float
from torch import Tensor, nn

GROUPS = 8  # of every group normalisation, where the width allows it
WIDEST = 4  # the width doubles from level to level up to this multiple


def level_widths(width: int, downsample: int) -> list[int]:
    """Channels at each resolution, from half the image's down to the grid's.

    Raises: ValueError if `downsample` is not a power of two above 1.
    """
    levels = downsample.bit_length() - 1
    if levels < 1 or downsample != 2**levels:
        raise ValueError(
            f"tokenizer.downsample must be a power of two, at least 2, for a convolutional "
            f"tokenizer; got {downsample}"
        )
    return [width * min(2**level, WIDEST) for level in range(levels)]


def normalise(width: int) -> nn.GroupNorm:
    """Group normalisation in at most GROUPS groups."""
    return nn.GroupNorm(math.gcd(GROUPS, width), width)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.body = nn.Sequential(
            normalise(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            normalise(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Add the body's output to its input."""
        return x + self.body(x)


class Encoder(nn.Sequential):
    """Images to a grid of vectors: per level one halving convolution and one residual block."""

    def __init__(self, channels: int, width: int, downsample: int, out: int) -> None:
        """Map `channels` to `out` channels at 1/`downsample` of the resolution."""
        parts: list[nn.Module] = []
        before = channels
        for level in level_widths(width, downsample):
            parts += [nn.Conv2d(before, level, 4, stride=2, padding=1), ResidualBlock(level)]
            before = level
        super().__init__(*parts, normalise(before), nn.SiLU(), nn.Conv2d(before, out, 1))


class Decoder(nn.Sequential):
    """The encoder mirrored; resolution doubles by moving channels into space."""

    def __init__(self, channels: int, width: int, downsample: int, out: int) -> None:
        """Map a grid of `out` channels to images of `channels` channels."""
        widths = level_widths(width, downsample)[::-1]
        parts: list[nn.Module] = [nn.Conv2d(out, widths[0], 3, padding=1)]
        for level, after in zip(widths, [*widths[1:], channels], strict=True):
            parts += [ResidualBlock(level), normalise(level), nn.SiLU()]
            parts += [
                nn.Conv2d(level, 4 * after, 3, padding=1),
                Rearrange("b (c p q) h w -> b c (h p) (w q)", p=2, q=2),
            ]
        super().__init__(*parts)
