"""Mean 0 and standard deviation 1 for every channel, with the numbers that undo it."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.support.arithmetic import root
from nextbasis.tokenizers.common.tokenizer import Units


class Standardise(nn.Module):
    """tokens -> (tokens - mean) * scale, per channel; `scale` is 1 / standard deviation."""

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]

    def __init__(self, channels: int) -> None:
        """Start as the identity."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    @torch.no_grad()
    def fit(self, rows: Iterable[Float[Tensor, "m d"]]) -> None:
        """Measure mean and standard deviation over all rows, in double precision.

        A channel that never changes keeps scale 1. Raises: ValueError if a value is not finite.
        """
        count = 0
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for part in rows:
            part = part.double()
            count += len(part)
            total += part.sum(0)
            squares += part.square().sum(0)
        if not (total.isfinite().all() and squares.isfinite().all()):
            raise ValueError("the tokenizer's latents are not finite: its training diverged")
        mean = total / count
        deviation = root((squares / count - mean.square()).clamp(min=0))
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(deviation > 1e-6, 1 / deviation, 1))

    def units(self) -> Units:
        """Mean and scale of each channel."""
        return self.mean.tolist(), self.scale.tolist()

    def forward(self, tokens: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Standardise."""
        return (tokens - self.mean) * self.scale

    def inverse(self, tokens: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Undo it."""
        return tokens / self.scale + self.mean
