"""What is kept of features and class probabilities that arrive batch by batch, in float64."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
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


class RunningInception:
    """Inception Score (Salimans et al. 2016) of images that arrive in any order and any batches.

    IS = exp(E_x KL(p(y|x) || p(y))) of each part of the images; all that is kept of a part is its
    count, its sum of p and its sum of sum_y p log p.
    """

    def __init__(self, num_classes: int, parts: int) -> None:
        """Start with nothing seen; `parts` is the number of splits."""
        self.counts = torch.zeros(parts, dtype=torch.float64)
        self.total = torch.zeros(parts, num_classes, dtype=torch.float64)
        self.entropy = torch.zeros(parts, dtype=torch.float64)

    def update(self, logits: Float[Tensor, "b k"], part: Int[np.ndarray, " b"]) -> None:
        """Add a batch; `part` says which split each image belongs to."""
        where = torch.from_numpy(part)
        log_p = logits.double().log_softmax(1)
        p = log_p.exp()
        self.counts.index_add_(0, where, torch.ones(len(p), dtype=torch.float64))
        self.total.index_add_(0, where, p)
        self.entropy.index_add_(0, where, (p * log_p).sum(1))

    def merge(self, other: "RunningInception") -> None:
        """Add what another process has seen of the same parts."""
        self.counts += other.counts
        self.total += other.total
        self.entropy += other.entropy

    def result(self) -> tuple[float, float]:
        """Mean and standard deviation over the parts; the latter is no standard error.

        Raises: ValueError if a part has no image.
        """
        if (self.counts == 0).any():
            raise ValueError(
                f"evaluation.is_splits is {len(self.counts)}: each needs an image, "
                f"got {int(self.counts.sum())} images"
            )
        mean = self.total / self.counts[:, None]
        # 0 log 0 = 0: a class that no image of the part can be in
        divergence = self.entropy / self.counts - torch.xlogy(mean, mean).sum(1)
        scores = divergence.exp().numpy()
        return float(np.mean(scores)), float(np.std(scores))
