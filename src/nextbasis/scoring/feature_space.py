"""Where images lie in feature space: their nearest training images, and the principal axes."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nextbasis.scoring.statistics import Statistics

BLOCK = 2000  # images that are compared with all queries at once; bounds memory


class Nearest:
    """The k nearest to each query among images that come batch by batch; only k are kept."""

    def __init__(self, queries: Float[Tensor, "q d"], k: int) -> None:
        """Start with nothing seen."""
        self.queries, self.k, self.seen = queries, k, 0
        self.distances = torch.empty(len(queries), 0)
        self.positions = torch.empty(len(queries), 0, dtype=torch.int64)
        self.waiting: list[Tensor] = []

    def update(self, features: Float[Tensor, "b d"]) -> None:
        """Add a batch."""
        self.waiting.append(features)
        if sum(map(len, self.waiting)) >= BLOCK:
            self._compare()

    def result(self) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        """Euclidean distances, the smallest first, and positions among all images seen.

        Raises: ValueError with fewer images than k.
        """
        if self.waiting:
            self._compare()
        if self.seen < self.k:
            raise ValueError(f"{self.k} nearest images need as many training images at least")
        return self.distances, self.positions

    def _compare(self) -> None:
        block = torch.cat(self.waiting)
        found = torch.cdist(self.queries, block).topk(min(self.k, len(block)), largest=False)
        distances = torch.cat([self.distances, found.values], 1)
        positions = torch.cat([self.positions, found.indices + self.seen], 1)
        best = distances.topk(min(self.k, distances.shape[1]), largest=False)
        self.distances, self.positions = best.values, positions.gather(1, best.indices)
        self.seen += len(block)
        self.waiting = []


def share_nearer(
    samples: Float[Tensor, " n"], unseen: Float[Tensor, " m"], quantile: float
) -> float:
    """Share of samples that lie nearer to a training image than this quantile of unseen ones.

    The arguments are distances to the nearest training image. Samples as far from the training
    images as unseen images are give `quantile`; copies of training images give 1.
    """
    return float((samples < unseen.quantile(quantile)).float().mean())


def principal_axes(
    statistics: Statistics, count: int
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
    """The first axes of a covariance, and each one's share of the variance.

    An axis points where its largest component is positive.
    """
    values, vectors = np.linalg.eigh(statistics.sigma)
    axes = vectors[:, ::-1][:, :count]
    largest = np.abs(axes).argmax(0)
    return axes * np.sign(axes[largest, np.arange(count)]), values[::-1][:count] / values.sum()
