"""Cached tokens of the training images: ids, latents, or moments that latents are drawn from."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nextbasis.data.arrays import open_array, read_index
from nextbasis.data.posterior import Posterior
from nextbasis.data.shards import FOLDER, Shards

KEYS = (
    "grid",
    "channels",
    "codebook_size",
    "posterior",
    "num_classes",
    "num_views",
    "mean",
    "scale",
    "shards",
    "tokens_sha256",
)
SEEDS = 2**32  # PyTorch's CPU generator takes no more of a seed than 32 bits


class TokenCache:
    """The arrays of results/<scale>/tokens/<key>, checked against their index.

    Of the tokens, types and shapes are checked but no checksum: there may be more of them than can
    be read in minutes. The stage that writes them verifies those, whatever the size.
    """

    def __init__(self, folder: Path) -> None:
        """Open the arrays.

        Raises: FileNotFoundError or ValueError naming the file, expected and found.
        """
        self.folder, self.index = folder, read_index(folder, KEYS)
        self.grid: tuple[int, int] = (self.index["grid"][0], self.index["grid"][1])
        self.channels: int = self.index["channels"]
        self.codebook_size: int = self.index["codebook_size"]
        self.num_classes: int = self.index["num_classes"]
        self.num_views: int = self.index["num_views"]  # crops of each image, mirrored ones included
        self.posterior: bool = self.index["posterior"]
        self.tokens = Shards(  # (num, views, n, d), of moments 2d; of ids (num, views, n)
            folder / FOLDER,
            self.index["shards"],
            np.int32 if self.codebook_size else np.float32,
            (self.num_views, *self._shape()),
        )
        self.labels: Int64[np.ndarray, " n"] = open_array(
            folder / "labels.npy", np.int64, (len(self.tokens),)
        )

    def _shape(self) -> tuple[int, ...]:
        count = self.grid[0] * self.grid[1]
        if self.codebook_size:
            return (count,)
        return count, self.channels * (2 if self.posterior else 1)

    def draw(
        self,
        items: Int64[np.ndarray, " b"],
        generator: torch.Generator,
        part: slice = slice(None),
    ) -> Tensor:
        """Tokens of these images: of a view drawn uniformly and, of moments, a fresh sample.

        Only those of `part` are read and returned, but a view and a seed of its noise are drawn for
        each, so that what an image gets does not depend on the number of processes that share a
        batch. Its noise is drawn where it is wanted alone: that of 2,048 images takes 0.1 s.

        Differs from RAR: all views of all images are shuffled there, so that each comes once in as
        many epochs; here every epoch shows every image once.
        """
        views = torch.randint(self.num_views, (len(items),), generator=generator).numpy()
        stored = torch.from_numpy(self.tokens.take(items[part], views[part]))
        if self.codebook_size:
            return stored.long()
        if not self.posterior:
            return stored
        posterior = Posterior.of(stored, 2)
        seeds = torch.randint(SEEDS, (len(items),), generator=generator)[part]
        return self._scaled(posterior.mean + posterior.std * _noise(seeds, posterior.mean.shape))

    def expected(self, every: int) -> Float[Tensor, "b n d"]:
        """Latents of every so many-th image's first view, without the posterior's noise."""
        items = np.arange(0, len(self.tokens), every)
        tokens = torch.from_numpy(self.tokens.take(items, np.zeros_like(items)))
        return self._scaled(Posterior.of(tokens, 2).mean) if self.posterior else tokens

    def _scaled(self, latents: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        mean, scale = (latents.new_tensor(self.index[name]) for name in ("mean", "scale"))
        return (latents - mean) * scale


def _noise(seeds: Int64[Tensor, " b"], shape: torch.Size) -> Float[Tensor, "b n d"]:
    """Standard normal numbers of this shape, each image's from a generator seeded for it."""
    noise, generator = torch.empty(shape), torch.Generator()
    for row, seed in zip(noise, seeds.tolist(), strict=True):
        row.normal_(generator=generator.manual_seed(seed))
    return noise
