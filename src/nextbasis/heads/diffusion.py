"""DiffusionHead: the distribution of one continuous token given z (MAR, section 3).

A small adaptive-norm MLP predicts the noise and the variance of a denoising step; tokens are
independent given their z. x is a noisy token, c its channels, r rows (any batch of tokens).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.heads.schedule import Schedule, discretised_nll, gaussian_kl, space_steps
from nextbasis.layers.parts import (
    NORM_EPS,
    Modulation,
    TimeEmbedding,
    init_xavier,
    modulate,
)


class ResidualBlock(nn.Module):
    """A gated two-layer MLP whose norm is modulated by the condition."""

    def __init__(self, width: int) -> None:
        """Width stays the same throughout."""
        super().__init__()
        self.in_ln = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.adaLN_modulation = Modulation(width, 3)

    def forward(self, x: Float[Tensor, "r w"], y: Float[Tensor, "r w"]) -> Float[Tensor, "r w"]:
        """x + gate * mlp(modulated norm of x)."""
        shift, scale, gate = self.adaLN_modulation(y).chunk(3, -1)
        return torch.addcmul(x, gate, self.mlp(modulate(self.in_ln(x), scale, shift)))


class FinalLayer(nn.Module):
    """Modulated norm without weights, then a linear map to noise and variance."""

    def __init__(self, width: int, channels: int) -> None:
        """`channels` counts the outputs."""
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.linear = nn.Linear(width, channels)
        self.adaLN_modulation = Modulation(width, 2)

    def forward(self, x: Float[Tensor, "r w"], y: Float[Tensor, "r w"]) -> Float[Tensor, "r c2"]:
        """Map to the outputs."""
        shift, scale = self.adaLN_modulation(y).chunk(2, -1)
        return self.linear(modulate(self.norm_final(x), scale, shift))


class DiffusionHead(nn.Module):
    """p(token | z) by denoising diffusion: `loss` trains it, `sample` draws from it."""

    def __init__(self, channels: int, z_width: int, width: int, depth: int) -> None:
        """`channels` is the token's, `depth` counts residual blocks."""
        super().__init__()
        self.channels = channels
        self.time_embed = TimeEmbedding(width)
        self.cond_embed = nn.Linear(z_width, width)
        self.input_proj = nn.Linear(channels, width)
        self.res_blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.final_layer = FinalLayer(width, 2 * channels)
        self.schedule = Schedule()
        self._init_weights()

    def _init_weights(self) -> None:
        """Xavier everywhere; time embedding normal(0.02); modulations and output zero."""
        init_xavier(self)
        self.time_embed.init_normal()
        for module in self.modules():
            if isinstance(module, Modulation):
                module.zero_()
        nn.init.zeros_(self.final_layer.linear.weight)

    def net(
        self, x: Float[Tensor, "r c"], y: Float[Tensor, "r w"]
    ) -> tuple[Float[Tensor, "r c"], Float[Tensor, "r c"]]:
        """Predicted noise and variance position v, given y = time_embed + cond_embed."""
        h = self.input_proj(x)
        for block in self.res_blocks:
            h = block(h, y)
        eps, v = self.final_layer(h, y).chunk(2, -1)
        return eps, v

    def loss(
        self,
        x0: Float[Tensor, "r c"],
        z: Float[Tensor, "r d"],
        step: Int[Tensor, " r"],
        noise: Float[Tensor, "r c"],
    ) -> tuple[Float[Tensor, " r"], Float[Tensor, "r c"]]:
        """Loss of each row, and its error noise - predicted noise.

        Mean squared error of the noise plus the variational bound in bits, whose gradient reaches
        only the variance (Nichol & Dhariwal 2021, L_hybrid with weight 1 as in MAR).
        """
        x_t = self.schedule.add_noise(x0, step, noise)
        eps, v = self.net(x_t, self.time_embed(step.float()) + self.cond_embed(z))
        bound = self._bound(x0, x_t, step, eps.detach(), v)
        return (noise - eps).square().mean(-1) + bound, noise - eps

    def _bound(self, x0: Tensor, x_t: Tensor, step: Tensor, eps: Tensor, v: Tensor) -> Tensor:
        """Variational bound of one step in bits per channel."""
        schedule = self.schedule
        mean = schedule.posterior_mean(schedule.predict_x0(x_t, step, eps), x_t, step)
        log_var = schedule.log_variance(step, v)
        true_mean = schedule.posterior_mean(x0, x_t, step)
        kl = gaussian_kl(true_mean, schedule.log_posterior[step, None], mean, log_var)
        nll = discretised_nll(x0, mean, log_var)
        return torch.where(step[:, None] == 0, nll, kl).mean(-1) / math.log(2)

    @torch.no_grad()
    def sample(
        self,
        z: Float[Tensor, "r d"],
        null_z: Float[Tensor, "r d"] | None,
        guidance: float,
        num_steps: int,
        temperature: float,
        clip: float,
        normal: Callable[[], Float[Tensor, "r c"]],
    ) -> Float[Tensor, "r c"]:
        """Ancestral sampling over respaced steps (MAR: 100 of 1000).

        With `null_z`, noise is guided as eps_null + guidance (eps - eps_null); the variance stays
        the conditional one. `normal` draws standard normal rows; `temperature` scales all of them
        but the first. `clip` bounds predicted clean tokens where it is above 0: at the first step
        an error of the noise is multiplied by thousands, which only long training survives.
        """
        schedule = Schedule(space_steps(num_steps)).to(z.device)
        condition = self.cond_embed(z if null_z is None else torch.cat((z, null_z)))
        times = self.time_embed(schedule.original_step.float())
        x = normal()
        for i in reversed(range(len(schedule))):
            step = torch.tensor([i], device=z.device)
            inputs = x if null_z is None else torch.cat((x, x))
            eps, v = self.net(inputs, times[i] + condition)
            if null_z is not None:
                eps, eps_null = eps.chunk(2)
                eps = eps_null + guidance * (eps - eps_null)
                v = v.chunk(2)[0]
            x0 = schedule.predict_x0(x, step, eps)
            if clip > 0:
                x0 = x0.clamp(-clip, clip)
            x = schedule.posterior_mean(x0, x, step)
            if i > 0:
                std = torch.exp(0.5 * schedule.log_variance(step, v))
                x = x + temperature * std * normal()
        return x
