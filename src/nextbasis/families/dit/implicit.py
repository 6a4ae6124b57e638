"""Deterministic sampling from a network that says noise (Song et al. 2021, DDIM with eta = 0)."""

from collections.abc import Callable
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from nextbasis.families.common.schedule import Schedule

Predict = Callable[[Tensor, int], tuple[Tensor, Tensor]]  # (x, step) -> noise, variance position


def implicitly_denoised(
    predict: Predict, schedule: Schedule, x: Float[Tensor, "*b c"]
) -> Float[Tensor, "*b c"]:
    """Data from noise x: each step keeps the noise that was said, at the next noise level."""
    tables = (schedule.alpha_bar_sqrt, schedule.noise_sqrt)
    levels = list(zip(*(table.flip(0).tolist() for table in tables), strict=True))
    times = schedule.original_step.flip(0).tolist()
    for time, (before, after) in zip(times, pairwise([*levels, (1.0, 0.0)]), strict=True):
        eps, _ = predict(x, time)
        x0 = (x - before[1] * eps) / before[0]
        x = after[0] * x0 + after[1] * eps
    return x
