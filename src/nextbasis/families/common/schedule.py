"""Schedules of diffusion over 1,000 steps: betas, respacing, Gaussian posteriors, the bound.

Formulas after Nichol & Dhariwal 2021 (improved DDPM); numerics follow guided-diffusion.
"""

import math
from collections.abc import Callable
from itertools import accumulate, pairwise, repeat

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.support.arithmetic import root

NUM_STEPS = 1000  # steps of the training schedule
MAX_BETA = 0.999


def cosine_alpha_bar(t: float) -> float:
    """Share of signal variance left at time t in [0, 1] (eq. 17)."""
    return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2


def cosine_betas(num_steps: int = NUM_STEPS) -> Float[Tensor, " t"]:
    """Variance added by each step, float64 (eq. 17; MAR's head)."""
    alpha_bar = [cosine_alpha_bar(i / num_steps) for i in range(num_steps + 1)]
    betas = [min(1 - after / before, MAX_BETA) for before, after in pairwise(alpha_bar)]
    return torch.tensor(betas, dtype=torch.float64)


def linear_betas() -> Float[Tensor, " t"]:
    """Variance added by each step, float64 (Ho et al. 2020, section 4; DiT)."""
    return torch.linspace(1e-4, 0.02, NUM_STEPS, dtype=torch.float64)


def space_steps(num_steps: int, total: int = NUM_STEPS) -> list[int]:
    """Evenly spaced denoising steps, first and last kept (sec. 4).

    The stride is added up as the official code does; multiples of it round otherwise for many
    counts, such as 21.

    Raises: ValueError if num_steps is not in [2, total].
    """
    if not 2 <= num_steps <= total:
        raise ValueError(f"sampler.num_steps must lie in [2, {total}], got {num_steps}")
    stride = (total - 1) / (num_steps - 1)
    return [round(step) for step in accumulate(repeat(stride, num_steps - 1), initial=0.0)]


class Schedule(nn.Module):
    """Coefficients of a (respaced) Gaussian diffusion, one entry per step, float32 buffers."""

    alpha_bar_sqrt: Tensor
    noise_sqrt: Tensor
    recip_sqrt: Tensor
    recip_m1_sqrt: Tensor
    mean_x0: Tensor
    mean_xt: Tensor
    log_beta: Tensor
    log_posterior: Tensor
    original_step: Tensor

    def __init__(
        self,
        steps: list[int] | None = None,
        betas: Callable[[], Float[Tensor, " t"]] = cosine_betas,
    ) -> None:
        """Use these steps of the training schedule; None means all of them."""
        super().__init__()
        alpha_bar_all = torch.cumprod(1 - betas(), 0)
        index = torch.arange(NUM_STEPS) if steps is None else torch.tensor(steps)
        alpha_bar = alpha_bar_all[index]
        previous = torch.cat((torch.ones(1, dtype=torch.float64), alpha_bar[:-1]))
        beta = 1 - alpha_bar / previous
        posterior = beta * (1 - previous) / (1 - alpha_bar)
        tables = {
            "alpha_bar_sqrt": root(alpha_bar),
            "noise_sqrt": root(1 - alpha_bar),
            "recip_sqrt": root(1 / alpha_bar),
            "recip_m1_sqrt": root(1 / alpha_bar - 1),
            "mean_x0": beta * root(previous) / (1 - alpha_bar),
            "mean_xt": (1 - previous) * root(1 - beta) / (1 - alpha_bar),
            "log_beta": beta.log(),
            # The posterior variance of step 0 is 0; its logarithm is that of step 1.
            "log_posterior": torch.cat((posterior[1:2], posterior[1:])).log(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table.float(), persistent=False)
        self.register_buffer("original_step", index, persistent=False)

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.original_step)

    def snr(self, step: Int[Tensor, "*r"]) -> Float[Tensor, "*r"]:
        """Signal-to-noise ratio abar / (1 - abar) of every token's step."""
        return (self.alpha_bar_sqrt[step] / self.noise_sqrt[step]).square()

    def add_noise(
        self, x0: Float[Tensor, "r c"], step: Int[Tensor, "*k r"], noise: Float[Tensor, "*k r c"]
    ) -> Float[Tensor, "*k r c"]:
        """x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise."""
        return self.alpha_bar_sqrt[step, None] * x0 + self.noise_sqrt[step, None] * noise

    def predict_x0(
        self, x_t: Float[Tensor, "*r c"], step: Int[Tensor, "*r"], eps: Float[Tensor, "*r c"]
    ) -> Float[Tensor, "*r c"]:
        """The clean token that a noise prediction implies."""
        return self.recip_sqrt[step, None] * x_t - self.recip_m1_sqrt[step, None] * eps

    def posterior_mean(
        self, x0: Float[Tensor, "*#r c"], x_t: Float[Tensor, "*r c"], step: Int[Tensor, "*r"]
    ) -> Float[Tensor, "*r c"]:
        """Mean of q(x_{t-1} | x_t, x_0)."""
        return self.mean_x0[step, None] * x0 + self.mean_xt[step, None] * x_t

    def log_variance(
        self, step: Int[Tensor, "*r"], v: Float[Tensor, "*r c"]
    ) -> Float[Tensor, "*r c"]:
        """Learned log-variance: v in [-1, 1] interpolates between posterior and beta (eq. 15)."""
        share = (v + 1) / 2
        return share * self.log_beta[step, None] + (1 - share) * self.log_posterior[step, None]


def gaussian_kl(mean1: Tensor, log_var1: Tensor, mean2: Tensor, log_var2: Tensor) -> Tensor:
    """KL(N1 || N2) of independent normals, in nats."""
    ratio = torch.exp(log_var1 - log_var2) + (mean1 - mean2).square() * torch.exp(-log_var2)
    return 0.5 * (log_var2 - log_var1 - 1.0 + ratio)


def discretised_nll(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Negative log-likelihood in nats of values rounded to 256 levels in [-1, 1].

    Meant for pixels; MAR's official loss applies it to latents at step 0, and so do we.
    """
    inverse_std = torch.exp(-0.5 * log_var)

    def cdf(value: Tensor) -> Tensor:
        """Tanh approximation of the normal distribution function."""
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))

    upper = cdf(inverse_std * (x - mean + 1 / 255))
    lower = cdf(inverse_std * (x - mean - 1 / 255))
    inside = (upper - lower).clamp(min=1e-12)
    probability = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, inside))
    return -probability.clamp(min=1e-12).log()


def variational_bound(
    schedule: Schedule,
    x0: Float[Tensor, "*#r c"],
    x_t: Float[Tensor, "*r c"],
    step: Int[Tensor, "*r"],
    eps: Float[Tensor, "*r c"],
    v: Float[Tensor, "*r c"],
) -> Float[Tensor, "*r"]:
    """The variational bound of one step, in bits per channel: eps and v are what a network says.

    A gradient that must reach only the variance is one of a detached eps.
    """
    mean = schedule.posterior_mean(schedule.predict_x0(x_t, step, eps), x_t, step)
    log_var = schedule.log_variance(step, v)
    true_mean = schedule.posterior_mean(x0, x_t, step)
    kl = gaussian_kl(true_mean, schedule.log_posterior[step, None], mean, log_var)
    nll = discretised_nll(x0, mean, log_var)
    return torch.where(step[..., None] == 0, nll, kl).mean(-1) / math.log(2)
