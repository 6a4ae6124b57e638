"""Heun's method under guidance of some noise levels; the other solvers are `common.flow`'s."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

Field = Callable[[Tensor, float, float], Tensor]  # (z, t, start of the step) -> dz/dt


def heun(
    field: Field, noise: Float[Tensor, "*b c"], times: Sequence[float]
) -> Float[Tensor, "*b c"]:
    """Follow dz/dt from noise (t = 1) down to data (t = 0) with two calls a step but the last.

    The second call of a step is guided as its start says, as in REPA's released sampler.
    """
    z = noise
    for t, t_next in pairwise(times):
        v = field(z, t, t)
        ahead = z + (t_next - t) * v
        z = z + (t_next - t) / 2 * (v + field(ahead, t_next, t)) if t_next > 0 else ahead
    return z
