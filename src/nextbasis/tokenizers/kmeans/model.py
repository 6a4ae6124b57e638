"""Vector quantisation without a network: every patch becomes its nearest code (Lloyd 1982).

Codes are the means of the patches that are nearest to them, found by k-means on mini-batches
(Sculley 2010, scikit-learn's implementation).
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.codes import VectorTokenizer, nearest
from nextbasis.tokenizers.common.patches import patchify, unpatchify
from nextbasis.tokenizers.kmeans.config import KMeansConfig


class KMeansTokenizer(VectorTokenizer):
    """encode: images -> ids (b n); decode: ids -> images of patches."""

    codebook: Float[Tensor, "k d"]

    def __init__(self, config: KMeansConfig, image_size: int, image_channels: int) -> None:
        """Start with an empty codebook.

        Raises: ValueError naming tokenizer.latent_channels unless it is the numbers of a patch.
        """
        super().__init__()
        self.patch, size = config.downsample, config.codebook_size
        side, self.channels = image_size // self.patch, image_channels * self.patch**2
        if config.latent_channels != self.channels:
            raise ValueError(
                f"tokenizer.latent_channels must be {self.channels} for patches of {self.patch}x"
                f"{self.patch} pixels with {image_channels} colours, got {config.latent_channels}"
            )
        self.layout = TokenLayout.of_grid((side, side), codebook_size=size)
        self.register_buffer("codebook", torch.zeros(size, self.channels))

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "b c h w"]]) -> None:
        """Find the codes in one pass; torch's global generator gives the seed.

        Raises: ValueError naming tokenizer.codebook_size if a batch has fewer patches than codes.
        """
        size, seed = len(self.codebook), int(torch.randint(2**31, ()).item())
        kmeans = MiniBatchKMeans(size, n_init=1, random_state=seed)
        for images in batches:
            patches = patchify(images, self.patch).flatten(0, 1).double().cpu().numpy()
            if len(patches) < size and not hasattr(kmeans, "cluster_centers_"):
                raise ValueError(
                    f"tokenizer.codebook_size must be at most the {len(patches)} patches of the "
                    f"first batch (tokenizer.encode_batch_size images), got {size}"
                )
            kmeans.partial_fit(patches)
        self.codebook.copy_(torch.from_numpy(kmeans.cluster_centers_))

    @torch.no_grad()
    def latents(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Patches of pixels in raster order."""
        return patchify(images, self.patch)

    @torch.no_grad()
    def decode_latents(self, vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Patches put back in place."""
        return unpatchify(vectors, self.patch, self.layout.grid[0])

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """The nearest code of each patch, in raster order."""
        patches = self.latents(images)
        return nearest(patches.flatten(0, 1), self.codebook).view(patches.shape[:2])

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]."""
        return self.decode_latents(self.codebook[ids])


TOKENIZER = KMeansTokenizer
