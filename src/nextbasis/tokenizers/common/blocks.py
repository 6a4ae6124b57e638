"""Parts of a convolutional autoencoder as latent diffusion and MaskGIT build them."""

import torch.nn.functional as F
from einops import rearrange
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


def normalise(width: int, groups: int = NORM_GROUPS) -> nn.GroupNorm:
    """Group normalisation as all of them have it, with the `groups` of the released ones."""
    return nn.GroupNorm(groups, width, eps=NORM_EPS)


def conv3(before: int, after: int, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the resolution."""
    return nn.Conv2d(before, after, 3, padding=1, bias=bias)


def double(x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h2 w2"]:
    """Repeat every pixel twice along both axes."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class ResidualBlock(nn.Module):
    """shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))."""

    def __init__(self, before: int, after: int, groups: int = NORM_GROUPS) -> None:
        """The shortcut is a 1x1 convolution where the width changes, else nothing."""
        super().__init__()
        self.norm1, self.conv1 = normalise(before, groups), conv3(before, after)
        self.norm2, self.conv2 = normalise(after, groups), conv3(after, after)
        same = before == after
        self.nin_shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Keep the resolution."""
        h = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class SpatialAttention(nn.Module):
    """Single-head attention between all positions, added to its input."""

    def __init__(self, width: int, groups: int = NORM_GROUPS) -> None:
        """Queries, keys and values are 1x1 convolutions."""
        super().__init__()
        self.norm = normalise(width, groups)
        self.q, self.k, self.v = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Scores are divided by the root of the width."""
        normed = self.norm(x)
        q, k, v = (
            rearrange(part(normed), "b d h w -> b 1 (h w) d") for part in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        mixed = rearrange(mixed, "b 1 (h w) d -> b d h w", h=x.shape[2])
        return x + self.proj_out(mixed)


class Downsample(nn.Module):
    """Halve the resolution by a strided convolution."""

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Zeros are added on the right and at the bottom only."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the resolution by repeating pixels, then smooth."""

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.conv = conv3(width, width)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Repeat, then convolve."""
        return self.conv(double(x))
