"""Cached tokens of the training images: ids, latents, or moments that latents are drawn from."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nextbasis.data.arrays import open_array, read_index
from nextbasis.posterior import Posterior

KEYS = (
    "grid",
    "channels",
    "codebook_size",
    "posterior",
    "num_classes",
    "num_views",
    "mean",
    "scale",
    "tokens_sha256",
)


class TokenCache:
    """The arrays of results/<scale>/tokens/<key>, checked against their index."""

    def __init__(self, folder: Path) -> None:
        """Map the arrays and verify their checksum.

        Raises: FileNotFoundError or ValueError naming the file, expected and found.
        """
        self.folder, self.index = folder, read_index(folder, KEYS)
        self.grid: tuple[int, int] = (self.index["grid"][0], self.index["grid"][1])
        self.channels: int = self.index["channels"]
        self.codebook_size: int = self.index["codebook_size"]
        self.num_classes: int = self.index["num_classes"]
        self.num_views: int = self.index["num_views"]  # crops of each image, mirrored ones included
        self.posterior: bool = self.index["posterior"]
        self.tokens = open_array(  # (num, views, n, d), of moments 2d; of ids (num, views, n)
            folder / "tokens.npy",
            np.int32 if self.codebook_size else np.float32,
            (None, self.num_views, *self._shape()),
            self.index["tokens_sha256"],
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
        """Tokens of part of these images: of a view drawn uniformly and, of moments, a new sample.

        Random numbers are drawn for all of them, so those of an image do not depend on the part.
        Differs from RAR: all views of all images are shuffled there, so that each comes once in as
        many epochs; here every epoch shows every image once.
        """
        views = torch.randint(self.num_views, (len(items),), generator=generator)
        stored = np.asarray(self.tokens[items[part], views[part].numpy()])
        if self.codebook_size:
            return torch.from_numpy(stored.astype(np.int64))
        tokens = torch.from_numpy(stored)
        if not self.posterior:
            return tokens
        posterior = Posterior.of(tokens, 2)
        shape = (len(items), *posterior.mean.shape[1:])
        noise = torch.randn(shape, generator=generator)[part]
        return self._scaled(posterior.mean + posterior.std * noise)

    def expected(self, every: int) -> Float[Tensor, "b n d"]:
        """Latents of every so many-th image's first view, without the posterior's noise."""
        tokens = torch.from_numpy(np.array(self.tokens[::every, 0]))
        return self._scaled(Posterior.of(tokens, 2).mean) if self.posterior else tokens

    def _scaled(self, latents: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        mean, scale = (latents.new_tensor(self.index[name]) for name in ("mean", "scale"))
        return (latents - mean) * scale
