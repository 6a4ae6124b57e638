"""The linear tokenizer: every patch in the leading principal components of all patches.

Of all linear maps to that many numbers it loses the least squared error (Karhunen-Loève transform).
Its reconstructions lack fine texture, but no training smooths them.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.data.layout import TokenLayout
from nextbasis.support.arithmetic import root
from nextbasis.tokenizers.common.patches import patchify, unpatchify
from nextbasis.tokenizers.common.tokenizer import Tokenizer, Units
from nextbasis.tokenizers.pca.config import PCAConfig


class PCATokenizer(Tokenizer):
    """encode: images -> components of patches (b n d), standardised; decode: back to pixels."""

    mean: Float[Tensor, " p"]
    components: Float[Tensor, "p d"]
    deviation: Float[Tensor, " d"]

    def __init__(self, config: PCAConfig, image_size: int, image_channels: int) -> None:
        """Nothing is measured yet.

        Raises: ValueError naming tokenizer.latent_channels if a patch has fewer numbers.
        """
        super().__init__()
        self.patch, channels = config.downsample, config.latent_channels
        side, pixels = image_size // self.patch, image_channels * self.patch**2
        if channels > pixels:
            raise ValueError(
                f"tokenizer.latent_channels must be at most {pixels} for patches of {self.patch}x"
                f"{self.patch} pixels with {image_channels} colours, got {channels}"
            )
        self.layout = TokenLayout.of_grid((side, side), channels=channels)
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("components", torch.zeros(pixels, channels))
        self.register_buffer("deviation", torch.ones(channels))

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "b c h w"]]) -> None:
        """Diagonalise the covariance of all patches, in double precision on the CPU.

        The largest number of each component is positive, so that its sign is no accident. Raises:
        ValueError naming tokenizer.latent_channels if so many components do not vary.
        """
        count, pixels = 0, len(self.mean)
        total = torch.zeros(pixels, dtype=torch.float64)
        products = torch.zeros(pixels, pixels, dtype=torch.float64)
        for images in batches:
            rows = patchify(images, self.patch).flatten(0, 1).double().cpu()
            count += len(rows)
            total += rows.sum(0)
            products += rows.T @ rows
        mean = total / count
        variances, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
        channels = self.components.shape[1]
        leading, variances = vectors.flip(1)[:, :channels], variances.flip(0)[:channels]
        if variances[-1] < 1e-10:
            raise ValueError(
                f"tokenizer.latent_channels must be at most {int((variances >= 1e-10).sum())}: "
                f"patches vary in no more directions, got {channels}"
            )
        largest = leading.gather(0, leading.abs().argmax(0, keepdim=True))
        self.mean.copy_(mean)
        self.components.copy_(leading * largest.sign())
        self.deviation.copy_(root(variances))

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Uncorrelated numbers of mean 0 and variance 1 over all patches, in raster order."""
        return (patchify(images, self.patch) - self.mean) @ self.components / self.deviation

    @torch.no_grad()
    def decode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]."""
        pixels = tokens * self.deviation @ self.components.T + self.mean
        return unpatchify(pixels, self.patch, self.layout.grid[0])

    def units(self) -> Units:
        """Mean and scale of each component."""
        return (self.mean @ self.components).tolist(), (1 / self.deviation).tolist()


TOKENIZER = PCATokenizer
