"""One pass over images: features batch by batch, checked as they come.

Several processes (torchrun's) take the batches in turn; process 0 gets them all in order, so that
what it computes of them is what one process would, to the bit.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from nextbasis.scoring.extractor import Extractor
from nextbasis.scoring.samples import Source, from_array
from nextbasis.scoring.statistics import RunningInception, RunningStatistics, Statistics
from nextbasis.support import processes
from nextbasis.support.progress import Progress


@dataclass(kw_only=True)
class Batch:
    """Images and what the extractor says of them."""

    where: slice  # positions among all images
    images: UInt8[np.ndarray, "b h w c"]
    pooled: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]
    spatial: Float[Tensor, "b s"] | None  # of sFID, where the protocol has it


@dataclass(kw_only=True)
class Features:
    """What one pass over a set of images leaves behind."""

    pooled: Float[Tensor, "n d"]  # for precision, recall, KID and standard errors
    predicted: Int64[np.ndarray, " n"]  # most probable class
    statistics: Statistics
    spatial: Statistics | None
    inception: RunningInception
    duplicates: int  # images that are exact copies of an earlier one
    sha256: str  # of all pixels in order


def stream(
    images: Source | UInt8[np.ndarray, "n h w c"],
    extractor: Extractor,
    batch_size: int,
    what: str,
) -> Iterator[Batch]:
    """One batch after another, in process 0; none in the others. `what` labels progress.

    Raises: ValueError naming the batch whose features are not finite.
    """
    source = images if isinstance(images, Source) else from_array(images)
    progress = Progress(len(source), "images", what)
    batches, start = source.batches(batch_size), 0
    while turn := list(islice(batches, processes.count())):  # one batch for each process
        mine = turn[processes.rank() : processes.rank() + 1]
        for batch, found in zip(turn, _all_features(mine, extractor), strict=False):
            where = slice(start, start + len(batch))
            pooled, logits, spatial = found
            bad = ~(pooled.isfinite().all(1) & logits.isfinite().all(1))
            if bad.any():
                raise ValueError(
                    f"{what}: {int(bad.sum())} images between {where.start} and {where.stop - 1} "
                    f"have features of {extractor.name} that are not finite"
                )
            yield Batch(where=where, images=batch, pooled=pooled, logits=logits, spatial=spatial)
            start = where.stop
            progress.update(len(batch))
    progress.close()


def assist(
    images: Source | UInt8[np.ndarray, "n h w c"], extractor: Extractor, batch_size: int
) -> None:
    """What the other processes do while process 0 makes a pass over the same images."""
    for _ in stream(images, extractor, batch_size, "assist"):
        pass


def _all_features(
    mine: list[UInt8[np.ndarray, "b h w c"]], extractor: Extractor
) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Pooled features, logits and features of sFID of every process's batch, in process 0.

    `mine` is this process's batch; at the end there may be none left for it.
    """
    found = None
    for batch in mine:
        pooled, logits = extractor.features(torch.from_numpy(batch).permute(0, 3, 1, 2))
        found = pooled, logits, extractor.spatial
    return [each for each in processes.gather(found) if each is not None]


class Pass:
    """All that a pass keeps, filled batch by batch; memory grows with the pooled features alone."""

    def __init__(self, num_images: int, part: Int[np.ndarray, " n"]) -> None:
        """Start with nothing seen; `part` is the IS split of each image."""
        self.num_images, self.part = num_images, part
        self.pooled: Tensor | None = None
        self.predicted = np.empty(num_images, np.int64)
        self.digests: set[bytes] = set()
        self.digest = hashlib.sha256()

    def update(self, batch: Batch) -> None:
        """Add a batch."""
        if self.pooled is None:  # the first one tells the sizes
            self.pooled = torch.empty(self.num_images, batch.pooled.shape[1])
            self.running = RunningStatistics(batch.pooled.shape[1])
            self.inception = RunningInception(batch.logits.shape[1], int(self.part.max()) + 1)
            seen = None if batch.spatial is None else RunningStatistics(batch.spatial.shape[1])
            self.spatial = seen
        self.pooled[batch.where] = batch.pooled
        self.running.update(batch.pooled)
        self.inception.update(batch.logits, self.part[batch.where])
        if self.spatial is not None and batch.spatial is not None:
            self.spatial.update(batch.spatial)
        self.predicted[batch.where] = batch.logits.argmax(1).numpy()
        self.digest.update(batch.images.tobytes())
        self.digests.update(_digest(image) for image in batch.images)

    def result(self) -> Features:
        """What is left of all images."""
        assert self.pooled is not None  # callers refuse empty sets
        return Features(
            pooled=self.pooled,
            predicted=self.predicted,
            statistics=self.running.result(),
            spatial=None if self.spatial is None else self.spatial.result(),
            inception=self.inception,
            duplicates=self.num_images - len(self.digests),
            sha256=self.digest.hexdigest(),
        )


def extract(
    images: Source | UInt8[np.ndarray, "n h w c"],
    extractor: Extractor,
    batch_size: int,
    what: str,
    part: Int[np.ndarray, " n"] | None = None,
) -> Features:
    """Features and statistics of all images; `what` labels progress.

    `part` is the IS split that each image belongs to; without it there is one.
    """
    found = Pass(len(images), np.zeros(len(images), np.int64) if part is None else part)
    for batch in stream(images, extractor, batch_size, what):
        found.update(batch)
    return found.result()


def _digest(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
