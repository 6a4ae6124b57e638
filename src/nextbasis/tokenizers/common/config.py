"""Sizes of a convolutional autoencoder as latent diffusion and MaskGIT build them."""

from dataclasses import dataclass
from typing import Any

from nextbasis.config.checks import positive
from nextbasis.data.layout import Grid

NORM_GROUPS = 32  # of every group normalisation


def square_grid(sizes: Any, image_size: int, image_channels: int) -> Grid:
    """Rows and columns of tokens of square images, `sizes.downsample` pixels apart.

    Raises: ValueError if the images have other channels than the network.
    """
    if image_channels != sizes.image_channels:
        raise ValueError(
            f"tokenizer.network.image_channels is {sizes.image_channels}, "
            f"but the dataset's images have {image_channels}"
        )
    side = image_size // sizes.downsample
    return side, side


@dataclass(kw_only=True)
class NetworkSizes:
    """Sizes of encoder and decoder; level 0 has the image's resolution."""

    image_channels: int  # of the images
    width: int  # channels at multiplier 1
    multipliers: list[int]  # one per level; each level has half the resolution of the former
    num_blocks: int  # residual blocks of an encoder level
    latent_channels: int  # numbers of a token, before quantisation if there is one

    def __post_init__(self) -> None:
        """Check sizes."""
        positive("tokenizer.network", self, "image_channels", "num_blocks", "latent_channels")
        if self.width < 1 or self.width % NORM_GROUPS:
            raise ValueError(
                f"tokenizer.network.width must be a positive multiple of {NORM_GROUPS}, "
                f"got {self.width}"
            )
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError(
                f"tokenizer.network.multipliers must be positive integers, got {self.multipliers}"
            )

    @property
    def downsample(self) -> int:
        """Pixels per token along one side."""
        return 2 ** (len(self.multipliers) - 1)

    def grid(self, image_size: int, image_channels: int) -> Grid:
        """Rows and columns of tokens of square images; see square_grid."""
        return square_grid(self, image_size, image_channels)
