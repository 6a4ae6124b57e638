"""Cached tokens of the training images, or moments that they are drawn from."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nextbasis.data.arrays import open_array, read_index
from nextbasis.data.layout import TokenLayout
from nextbasis.data.posterior import Posterior
from nextbasis.data.shards import FOLDER, Shards

KEYS = (
    "layout",
    "posterior",
    "num_classes",
    "num_views",
    "mean",
    "scale",
    "shards",
    "tokens_sha256",
)
DTYPES = {"numbers": np.float32, "ids": np.int32, "bits": np.bool_}  # on disk, by kind
CODES = "codes.safetensors"  # what ids stand for; of most tokenizers without tensors
SEEDS = 2**32  # PyTorch's CPU generator takes no more of a seed than 32 bits


def stored(layout: TokenLayout, posterior: bool) -> tuple[type, tuple[int, ...]]:
    """Type and shape of what is kept of a view: its tokens, a byte a bit; of a posterior moments.

    Those are means, then log-variances: (n, 2d).
    """
    *places, last = layout.shape
    return DTYPES[layout.kind], (*places, 2 * last if posterior else last)


class TokenCache:
    """The arrays of results/<scale>/tokens/<key>, checked against their index.

    `tokens` is (images, views, *layout.shape), of moments (images, views, n, 2d).

    Of the tokens, types and shapes are checked but no checksum: there may be more of them than can
    be read in minutes. The stage that writes them verifies those, whatever the size.
    """

    def __init__(self, folder: Path, images: int | None = None) -> None:
        """Open the arrays, of so many images alone if a number is given.

        These lie evenly in the images sorted by class, so each class keeps its share.

        Raises: FileNotFoundError or ValueError naming the file, expected and found; ValueError if
        there are fewer images.
        """
        self.folder, self.index = folder, read_index(folder, KEYS)
        try:
            self.layout = TokenLayout.of(self.index["layout"])
        except ValueError as error:
            raise ValueError(f"{folder / 'index.json'}: {error}; rerun stage tokens") from error
        self.num_classes: int = self.index["num_classes"]
        self.num_views: int = self.index["num_views"]  # crops of each image, mirrored ones included
        self.posterior: bool = self.index["posterior"]
        dtype, shape = stored(self.layout, self.posterior)
        shape = (self.num_views, *shape)
        self.tokens = Shards(folder / FOLDER, self.index["shards"], dtype, shape)
        count = len(self.tokens)
        labels = open_array(folder / "labels.npy", np.int64, (count,))
        self.kept: Int64[np.ndarray, " n"] = np.arange(count)  # rows of the arrays
        if images is not None:
            if images > count:
                raise ValueError(
                    f"train.images must be at most {count}, which {folder} holds; got {images}"
                )
            by_class = np.argsort(labels, kind="stable")
            self.kept = np.sort(by_class[np.arange(images) * count // images])
        self.labels: Int64[np.ndarray, " n"] = labels[self.kept]

    def draw(
        self,
        items: Int64[np.ndarray, " b"],
        generator: torch.Generator,
        part: slice = slice(None),
    ) -> Tensor:
        """Tokens of these images: of a view drawn uniformly and, of moments, a fresh sample.

        They are (b, *layout.shape): float32 numbers, int64 ids or bool bits.

        Only those of `part` are read and returned, but a view and a seed of its noise are drawn for
        each, so that what an image gets does not depend on the number of processes that share a
        batch. Its noise is drawn where it is wanted alone: that of 2,048 images takes 0.1 s.

        Differs from RAR: all views of all images are shuffled there, so that each comes once in as
        many epochs; here every epoch shows every image once.
        """
        views = torch.randint(self.num_views, (len(items),), generator=generator).numpy()
        kept = torch.from_numpy(self.tokens.take(self.kept[items[part]], views[part]))
        if self.layout.kind == "ids":
            return kept.long()
        if not self.posterior:
            return kept
        posterior = Posterior.of(kept, 2)
        seeds = torch.randint(SEEDS, (len(items),), generator=generator)[part]
        return self._scaled(posterior.mean + posterior.std * _noise(seeds, posterior.mean.shape))

    def codes(self) -> dict[str, Tensor]:
        """What the tokenizer says that ids stand for.

        Raises: FileNotFoundError or ValueError naming the file.
        """
        path = self.folder / CODES
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}; rerun stage tokens")
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is corrupt ({error}); rerun stage tokens") from error

    def expected(self, every: int) -> Float[Tensor, "b n d"]:
        """Numbers of every so many-th image's first view, without the posterior's noise."""
        rows = self.kept[::every]
        tokens = torch.from_numpy(self.tokens.take(rows, np.zeros_like(rows)))
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
