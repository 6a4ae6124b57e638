"""The tokenizer without training: square patches of pixels, standardised; exactly invertible."""

from collections.abc import Iterable

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from nextbasis.config import PatchesConfig
from nextbasis.tokenizers.standardise import Standardise
from nextbasis.tokenizers.tokenizer import Tokenizer, Units


def patchify(images: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b n d"]:
    """Non-overlapping patches as tokens in raster order, channel-major inside a token."""
    return rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)


def unpatchify(tokens: Float[Tensor, "b n d"], patch: int, height: int) -> Float[Tensor, "b c h w"]:
    """The inverse of patchify for a grid of `height` rows of tokens."""
    return rearrange(tokens, "b (h w) (c p q) -> b c (h p) (w q)", p=patch, q=patch, h=height)


class PatchTokenizer(Tokenizer):
    """encode: images -> flattened patches (b n d), d = colours times pixels of a patch."""

    def __init__(self, config: PatchesConfig, image_size: int, image_channels: int) -> None:
        """Check that the channels are those of a patch.

        Raises: ValueError naming tokenizer.latent_channels.
        """
        super().__init__()
        self.patch = config.downsample
        side = image_size // self.patch
        self.grid, self.channels = (side, side), image_channels * self.patch**2
        if config.latent_channels != self.channels:
            raise ValueError(
                f"tokenizer.latent_channels must be {self.channels} for patches of {self.patch}x"
                f"{self.patch} pixels with {image_channels} colours, got {config.latent_channels}"
            )
        self.standardise = Standardise(self.channels)

    def fit(self, batches: Iterable[Float[Tensor, "b c h w"]]) -> None:
        """Record the mean and the scale of each place in a patch over all batches."""
        self.standardise.fit(patchify(images, self.patch).flatten(0, 1) for images in batches)

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Standardised patches in raster order."""
        return self.standardise(patchify(images, self.patch))

    def decode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Put the patches back in place."""
        return unpatchify(self.standardise.inverse(tokens), self.patch, self.grid[0])

    def units(self) -> Units:
        """Of the standardisation."""
        return self.standardise.units()
