"""Dropout that is fast on CPUs, where drawing one random number per element dominates training."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 1 << 16  # values of the 16 random bits that an element gets


class Dropout(nn.Module):
    """Zero elements with a probability, in training only, and scale up the others."""

    def __init__(self, probability: float) -> None:
        """On CPUs the probability is rounded to a multiple of 1 / 65536."""
        super().__init__()
        self.probability = probability

    @property
    def active(self) -> bool:
        """Whether anything would be dropped."""
        return self.training and self.probability > 0

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Drop elements independently; the mean stays as it is."""
        if not self.active:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.probability)
        dropped = round(self.probability * LEVELS)
        return x * (random_levels(x) >= dropped - LEVELS // 2).to(x.dtype).mul_(
            LEVELS / (LEVELS - dropped)
        )


def random_levels(x: Tensor) -> Tensor:
    """Independent uniform 16-bit integers in the shape of x, four of each 64 random bits."""
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
    return words.random_(-(1 << 63), None).view(torch.int16)[: x.numel()].view(x.shape)
