"""Flow matching along straight lines (xAR, section 3): t = 0 is data, t = 1 is noise.

The velocity is noise - data. Samplers are pure functions of a velocity field.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]  # (z, t) -> dz/dt


def interpolate(
    x0: Float[Tensor, "*b c"], noise: Float[Tensor, "*b c"], t: Float[Tensor, "*b 1"]
) -> Float[Tensor, "*b c"]:
    """The noisy token at time t: (1 - t) x_0 + t noise."""
    return (1 - t) * x0 + t * noise


def euler_times(num_steps: int) -> list[float]:
    """Evenly spaced times from 1 to 0, one network call each."""
    return torch.linspace(1, 0, num_steps + 1, dtype=torch.float64).tolist()


def euler(
    velocity: Velocity, noise: Float[Tensor, "*b c"], times: Sequence[float]
) -> Float[Tensor, "*b c"]:
    """Follow dz/dt = velocity(z, t) from noise (t = 1) down to data (t = 0)."""
    z = noise
    for t, t_next in pairwise(times):
        z = z + (t_next - t) * velocity(z, t)
    return z


def euler_maruyama_times(num_steps: int, last: float = 0.04) -> list[float]:
    """Evenly spaced times from 1 to `last`, then 0 (xAR's released sampler)."""
    return torch.linspace(1, last, num_steps, dtype=torch.float64).tolist() + [0.0]


def euler_maruyama(
    velocity: Velocity,
    noise: Float[Tensor, "*b c"],
    times: Sequence[float],
    normal: Callable[[], Float[Tensor, "*b c"]],
) -> Float[Tensor, "*b c"]:
    """Follow the reverse SDE with diffusion w(t) = 2 t; the last step is deterministic.

    The score of the straight path is (-(1 - t) v - z) / t, so the drift is v - t score.
    """
    z = noise.double()
    for t, t_next in pairwise(times):
        v = velocity(z, t).double()
        drift = v + (1 - t) * v + z
        z = z + drift * (t_next - t)
        if t_next > 0:
            z = z + (2 * t * (t - t_next)) ** 0.5 * normal()
    return z.to(noise.dtype)
