"""Mean and covariance of features that arrive batch by batch, in float64."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(kw_only=True)
class Statistics:
    """What the Fréchet distance needs to know about one set of images."""

    mu: Float[np.ndarray, " d"]
    sigma: Float[np.ndarray, "d d"]  # unbiased covariance
    count: int


class RunningStatistics:
    """Count, sum and sum of outer products: all that is kept of the features seen."""

    def __init__(self, dim: int) -> None:
        """Start with nothing seen."""
        self.count = 0
        self.total = torch.zeros(dim, dtype=torch.float64)
        self.outer = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, features: Float[Tensor, "b d"]) -> None:
        """Add a batch."""
        batch = features.double()
        self.count += len(batch)
        self.total += batch.sum(0)
        self.outer.addmm_(batch.T, batch)

    def merge(self, other: "RunningStatistics") -> None:
        """Add what another process has seen."""
        self.count += other.count
        self.total += other.total
        self.outer += other.outer

    def result(self) -> Statistics:
        """Mean and covariance of all features seen.

        Raises: ValueError with fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 images, got {self.count}")
        mu = self.total / self.count
        sigma = (self.outer - self.count * torch.outer(mu, mu)) / (self.count - 1)
        return Statistics(mu=mu.numpy(), sigma=((sigma + sigma.T) / 2).numpy(), count=self.count)
