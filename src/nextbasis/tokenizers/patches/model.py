"""The tokenizer without training: square patches of pixels, standardised; exactly invertible."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.patches import patchify, unpatchify
from nextbasis.tokenizers.common.standardise import Standardise
from nextbasis.tokenizers.common.tokenizer import Tokenizer, Units
from nextbasis.tokenizers.patches.config import PatchesConfig


class PatchTokenizer(Tokenizer):
    """encode: images -> flattened patches (b n d), d = colours times pixels of a patch."""

    def __init__(self, config: PatchesConfig, image_size: int, image_channels: int) -> None:
        """Check that the channels are those of a patch.

        Raises: ValueError naming tokenizer.latent_channels.
        """
        super().__init__()
        self.patch = config.downsample
        side = image_size // self.patch
        channels = image_channels * self.patch**2
        if config.latent_channels != channels:
            raise ValueError(
                f"tokenizer.latent_channels must be {channels} for patches of {self.patch}x"
                f"{self.patch} pixels with {image_channels} colours, got {config.latent_channels}"
            )
        self.layout = TokenLayout.of_grid((side, side), channels=channels)
        self.standardise = Standardise(channels)

    def fit(self, batches: Iterable[Float[Tensor, "b c h w"]]) -> None:
        """Record the mean and the scale of each place in a patch over all batches."""
        self.standardise.fit(patchify(images, self.patch).flatten(0, 1) for images in batches)

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Standardised patches in raster order."""
        return self.standardise(patchify(images, self.patch))

    def decode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Put the patches back in place."""
        return unpatchify(self.standardise.inverse(tokens), self.patch, self.layout.grid[0])

    def units(self) -> Units:
        """Of the standardisation."""
        return self.standardise.units()


TOKENIZER = PatchTokenizer
