"""The paths and losses of the official code that the package does not train with, for comparison.

Time runs as in SiT: 0 is noise x_0, 1 is data x_1, and x_t = alpha x_1 + sigma x_0 (Ma et al. 2024,
sections 2 and 3). REPA's "cosine" is GVP backwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BETA_MIN, BETA_MAX = 0.1, 20.0  # of the variance preserving path
NOISE_EPS, VP_EPS, VP_SAMPLE_EPS = 1e-3, 1e-5, 1e-3  # kept away from an end of the path
Rows = Float[Tensor, " *b"]


@dataclass(frozen=True)
class Path:
    """alpha and sigma of a time, and their derivatives."""

    alpha: Callable[[Rows], Rows]
    sigma: Callable[[Rows], Rows]
    d_alpha: Callable[[Rows], Rows]
    d_sigma: Callable[[Rows], Rows]

    def mix(self, t: Rows, data: Tensor, noise: Tensor) -> Tensor:
        """x_t."""
        return self.alpha(t) * data + self.sigma(t) * noise

    def velocity(self, t: Rows, data: Tensor, noise: Tensor) -> Tensor:
        """Its derivative."""
        return self.d_alpha(t) * data + self.d_sigma(t) * noise

    def score(self, t: Rows, x: Tensor, velocity: Tensor) -> Tensor:
        """The score that a velocity implies."""
        ratio = self.alpha(t) / self.d_alpha(t)
        variance = self.sigma(t) ** 2 - ratio * self.d_sigma(t) * self.sigma(t)
        return (ratio * velocity - x) / variance

    def drift(self, t: Rows) -> Rows:
        """By which a score enters the velocity."""
        growth = self.d_alpha(t) / self.alpha(t)
        return growth * self.sigma(t) ** 2 - self.sigma(t) * self.d_sigma(t)


def _log_alpha(t: Rows) -> Rows:
    return -0.25 * (1 - t) ** 2 * (BETA_MAX - BETA_MIN) - 0.5 * (1 - t) * BETA_MIN


def _vp_alpha(t: Rows) -> Rows:
    return _log_alpha(t).exp()


def _vp_sigma(t: Rows) -> Rows:
    return (1 - (2 * _log_alpha(t)).exp()).sqrt()


def _vp_growth(t: Rows) -> Rows:
    return (BETA_MIN + (1 - t) * (BETA_MAX - BETA_MIN)) / 2


RIGHT = math.pi / 2
PATHS = {
    "Linear": Path(lambda t: t, lambda t: 1 - t, torch.ones_like, lambda t: -torch.ones_like(t)),
    "GVP": Path(
        lambda t: (RIGHT * t).sin(),
        lambda t: (RIGHT * t).cos(),
        lambda t: RIGHT * (RIGHT * t).cos(),
        lambda t: -RIGHT * (RIGHT * t).sin(),
    ),
    "VP": Path(
        _vp_alpha,
        _vp_sigma,
        lambda t: _vp_growth(t) * _vp_alpha(t),
        lambda t: -_vp_growth(t) * _vp_alpha(t) ** 2 / _vp_sigma(t),
    ),
}


def path_of(name: str) -> Path:
    """The path that metadata name.

    Raises: ValueError if the official code has none such.
    """
    if name not in PATHS:
        raise ValueError(f"the fixture's path {name} is none of {', '.join(PATHS)}")
    return PATHS[name]


def training_times(path: str, prediction: str, uniform: Rows) -> Rows:
    """Times of a training step for uniform numbers."""
    low, high = 0.0, 1.0
    if path == "VP":
        high = 1 - VP_EPS
    elif prediction != "velocity":
        low, high = NOISE_EPS, 1 - NOISE_EPS
    return uniform * (high - low) + low


def squared_error(
    path: Path,
    prediction: str,
    weight: str | None,
    t: Rows,
    out: Tensor,
    data: Tensor,
    noise: Tensor,
) -> Tensor:
    """Of what a network says at time t, as a network of this prediction is trained."""
    if prediction == "velocity":
        return (out - path.velocity(t, data, noise)).square()
    drift, sigma = path.drift(t), path.sigma(t)
    scale = {
        None: torch.ones_like(t),
        "velocity": (drift / sigma).square(),
        "likelihood": drift / sigma**2,
    }[weight]
    error = out - noise if prediction == "noise" else out * sigma + noise
    return scale * error.square()
