"""One pass over images: features batch by batch, checked as they come."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nextbasis.metrics.extractor import Extractor
from nextbasis.metrics.statistics import RunningStatistics, Statistics
from nextbasis.progress import Progress


@dataclass(kw_only=True)
class Features:
    """What one pass over a set of images leaves behind."""

    pooled: Float[Tensor, "n d"]
    logits: Float[Tensor, "n k"]
    statistics: Statistics
    duplicates: int  # images that are exact copies of an earlier one


def stream(
    images: UInt8[np.ndarray, "n h w c"], extractor: Extractor, batch_size: int, what: str
) -> Iterator[tuple[slice, Float[Tensor, "b d"], Float[Tensor, "b k"]]]:
    """Positions, pooled features and logits of one batch after another; `what` labels progress.

    Raises: ValueError naming the batch whose features are not finite.
    """
    progress = Progress(len(images), "images", what)
    for start in range(0, len(images), batch_size):
        where = slice(start, min(start + batch_size, len(images)))
        copied = torch.from_numpy(np.array(images[where]))  # maps are read-only
        batch = copied.permute(0, 3, 1, 2)
        pooled, logits = extractor.features(batch)
        bad = ~(pooled.isfinite().all(1) & logits.isfinite().all(1))
        if bad.any():
            raise ValueError(
                f"{what}: {int(bad.sum())} images between {where.start} and {where.stop - 1} have "
                f"features of {extractor.name} that are not finite"
            )
        yield where, pooled, logits
        progress.update(len(pooled))
    progress.close()


def extract(
    images: UInt8[np.ndarray, "n h w c"], extractor: Extractor, batch_size: int, what: str
) -> Features:
    """Features and statistics of all images; `what` labels progress."""
    pooled: list[Tensor] = []
    logits: list[Tensor] = []
    digests: set[bytes] = set()
    running: RunningStatistics | None = None
    for where, batch, batch_logits in stream(images, extractor, batch_size, what):
        running = running or RunningStatistics(batch.shape[1])
        running.update(batch)
        pooled.append(batch)
        logits.append(batch_logits)
        digests.update(_digest(image) for image in images[where])
    assert running is not None  # callers refuse empty sets
    return Features(
        pooled=torch.cat(pooled),
        logits=torch.cat(logits),
        statistics=running.result(),
        duplicates=len(images) - len(digests),
    )


def _digest(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
