"""Solvers of the official code that the package does not sample with, for comparison.

Time runs as in SiT, from noise (0) to data (1). An adaptive ODE solver whose steps depend on all
images of a batch is among them, which is why no sampler here has one: no image may depend on its
neighbours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from nextbasis.families.sit.parity_paths import Path

Field = Callable[[Tensor, float], Tensor]  # (x, t) -> velocity
# The Dormand-Prince pair: when and from which slopes, and the error's weights as torchdiffeq has
# them (Shampine 1986); MIDDLE weights the slopes for the state at half a step.
TIMES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
SLOPES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (
    35 / 384 - 1951 / 21600,
    0.0,
    500 / 1113 - 22642 / 50085,
    125 / 192 - 451 / 720,
    -2187 / 6784 + 12231 / 42400,
    11 / 84 - 649 / 6300,
    -1 / 60,
)
MIDDLE = (
    6025192743 / 30085553152 / 2,
    0.0,
    51252292925 / 65400821598 / 2,
    -2691868925 / 45128329728 / 2,
    187940372067 / 1594534317056 / 2,
    -1776094331 / 19743644256 / 2,
    11237099 / 235043384 / 2,
)
ATOL, RTOL = 1e-6, 1e-3  # of SiT's command
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0


def euler(field: Field, x: Tensor, times: Sequence[float]) -> list[Tensor]:
    """States at all times."""
    states = [x]
    for t, t_next in pairwise(times):
        states.append(states[-1] + (t_next - t) * field(states[-1], t))
    return states


def heun(field: Field, x: Tensor, times: Sequence[float]) -> list[Tensor]:
    """States at all times; two calls in every step."""
    states = [x]
    for t, t_next in pairwise(times):
        first = field(states[-1], t)
        second = field(states[-1] + (t_next - t) * first, t_next)
        states.append(states[-1] + (t_next - t) / 2 * (first + second))
    return states


def dopri5(field: Field, x: Tensor, times: Sequence[float]) -> list[Tensor]:
    """States at all times, by steps of their own length that may end beyond the last."""
    end, slope, states = times[0], field(x, times[0]), [x]
    length = _first_step(field, x, end, slope)
    piece = partial(_between, x, x, x, [slope, slope], 1.0, end)
    for wanted in times[1:]:
        while end < wanted:
            slopes, ahead = [slope], x
            for when, weights in zip(TIMES, SLOPES, strict=True):
                ahead = x + length * _sum(weights, slopes)
                slopes.append(field(ahead, end + when * length))
            ratio = _size(length * _sum(ERROR, slopes), x, ahead)
            factor = min(GROW, max(SAFETY / max(ratio, 1e-10) ** 0.2, SHRINK if ratio > 1 else 1.0))
            if ratio <= 1:
                middle = x + length * _sum(MIDDLE, slopes)
                piece = partial(_between, x, middle, ahead, slopes, length, end)
                x, slope, end = ahead, slopes[-1], end + length
            length *= factor
        states.append(piece(wanted))
    return states


def _sum(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    return torch.stack([w * s for w, s in zip(weights, slopes, strict=True)]).sum(0)


def _size(values: Tensor, *states: Tensor) -> float:
    """Root mean square over everything, in units of what is tolerated."""
    scale = ATOL + RTOL * torch.stack([state.abs() for state in states]).amax(0)
    return (values / scale).square().mean().sqrt().item()


def _first_step(field: Field, x: Tensor, t: float, slope: Tensor) -> float:
    """Hairer, Norsett & Wanner, section II.4, for order 4."""
    d0, d1 = _size(x, x), _size(slope, x)
    trial = 0.01 * d0 / d1 if min(d0, d1) >= 1e-5 else 1e-6
    d2 = _size(field(x + trial * slope, t + trial) - slope, x) / trial
    largest = max(d1, d2)
    step = (0.01 / largest) ** 0.2 if largest > 1e-15 else max(1e-6, 1e-3 * trial)
    return min(100 * trial, step)


def _between(
    x: Tensor,
    middle: Tensor,
    ahead: Tensor,
    slopes: list[Tensor],
    step: float,
    start: float,
    t: float,
) -> Tensor:
    """The quartic through start, middle and end of a step with the slopes of start and end."""
    share = (t - start) / step
    first, last = step * slopes[0], step * slopes[-1]
    a = 2 * (last - first) - 8 * (ahead + x) + 16 * middle
    b = 5 * first - 3 * last + 18 * x + 14 * ahead - 32 * middle
    c = last - 4 * first - 11 * x - 5 * ahead + 16 * middle
    return (((a * share + b) * share + c) * share + first) * share + x


@dataclass(frozen=True, kw_only=True)
class SDE:
    """The reverse SDE of a path with diffusion w(t), and how its last step is taken."""

    path: Path
    form: str  # of w: sigma, linear or decreasing
    norm: float  # its factor
    method: str  # Euler or Heun
    last: str | None  # Mean, Euler, Tweedie, or no last step
    num_steps: int  # the last one included
    last_size: float = 0.04

    def w(self, t: Tensor) -> Tensor:
        """The diffusion at a time.

        Raises: ValueError for a form that is not known here.
        """
        if self.form == "sigma":
            return self.norm * self.path.sigma(t)
        if self.form == "linear":
            return self.norm * (1 - t)
        if self.form == "decreasing":
            return 0.25 * (self.norm * (math.pi * t).cos() + 1) ** 2
        raise ValueError(f"the fixture's diffusion form {self.form} is not known here")

    def run(self, field: Field, x: Tensor, noise: Sequence[Tensor]) -> list[Tensor]:
        """The state after every step."""

        def drift(x: Tensor, t: float) -> Tensor:
            v, at = field(x, t), torch.tensor(t, dtype=x.dtype, device=x.device)
            return v + self.w(at) * self.path.score(at, x, v)

        end = 1 - self.last_size if self.last else 1.0
        times = torch.linspace(0, end, self.num_steps, dtype=torch.float64).tolist()
        states = []
        for (t, t_next), normal in zip(pairwise(times), noise, strict=True):
            dt, at = t_next - t, torch.tensor(t, dtype=x.dtype, device=x.device)
            pushed = (2 * self.w(at)).sqrt() * math.sqrt(dt) * normal
            if self.method == "Heun":
                x = x + pushed
                first = drift(x, t)
                x = x + dt / 2 * (first + drift(x + dt * first, t_next))
            else:
                x = x + dt * drift(x, t) + pushed
            states.append(x)
        if self.last:
            states.append(self._last(field, drift, x, times[-1]))
        return states

    def _last(self, field: Field, drift: Field, x: Tensor, t: float) -> Tensor:
        if self.last == "Mean":
            return x + self.last_size * drift(x, t)
        v = field(x, t)
        if self.last == "Euler":
            return x + self.last_size * v
        at = torch.tensor(t, dtype=x.dtype, device=x.device)
        alpha, sigma = self.path.alpha(at), self.path.sigma(at)
        return x / alpha + sigma**2 / alpha * self.path.score(at, x, v)
