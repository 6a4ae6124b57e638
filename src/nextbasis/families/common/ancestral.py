"""Ancestral sampling, and that from the diffusion head with nothing computed twice (MAR, sec. 3).

The network is DiffusionHead.net, rearranged: what does not depend on the noisy token is computed
before the loop over denoising steps, of which MAR makes 100 for every token.

r rows (tokens) of c channels, g = 2 conditions under guidance or else 1, w the head's width.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.families.common.diffusion import DiffusionHead, ResidualBlock
from nextbasis.families.common.execution import precision, sent
from nextbasis.families.common.linear import linear
from nextbasis.families.common.parts import NORM_EPS, Modulation
from nextbasis.families.common.schedule import Schedule, space_steps

ROWS_AT_ONCE = 1024  # rows whose modulations one product computes; bounds the memory
LARGEST_GAIN = 10.0  # a step that multiplies errors of the noise by more is made without autocast


@dataclass(kw_only=True)
class Step:
    """The coefficients of one denoising step as numbers; Schedule tells their meaning."""

    recip_sqrt: float
    recip_m1_sqrt: float
    mean_x0: float
    mean_xt: float
    log_beta: float
    log_posterior: float

    @property
    def gain(self) -> float:
        """By what an error of the predicted noise is multiplied."""
        return self.mean_x0 * self.recip_m1_sqrt

    def mean(self, x: Tensor, eps: Tensor, clip: float) -> Tensor:
        """Mean of the next x; the clean token that eps implies is bounded where clip is above 0."""
        x0 = torch.sub(x * self.recip_sqrt, eps, alpha=self.recip_m1_sqrt)
        if clip > 0:
            x0 = x0.clamp_(-clip, clip)
        return torch.add(x * self.mean_xt, x0, alpha=self.mean_x0)

    def deviation(self, v: Tensor) -> Tensor:
        """Standard deviation of the next x."""
        centre = (self.log_beta + self.log_posterior) / 4
        spread = (self.log_beta - self.log_posterior) / 4
        return (v * spread).add_(centre).exp_()


def denoising_steps(schedule: Schedule) -> list[Step]:
    """The steps in the order of sampling, from noise to data."""
    names = [field.name for field in fields(Step)]
    tables = [getattr(schedule, name).flip(0).tolist() for name in names]
    return [Step(**dict(zip(names, row, strict=True))) for row in zip(*tables, strict=True)]


def denoised(
    predict: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    schedule: Schedule,
    normal: Callable[[], Float[Tensor, "*b c"]],
) -> Float[Tensor, "*b c"]:
    """Data from noise, step by step, by what a network says at each original step.

    `predict` gives the noise and the variance position v; `normal` gives standard normal numbers,
    first those of the start, then those that every step but the last adds.
    """
    x, times = normal(), schedule.original_step.flip(0).tolist()
    for time, step in zip(times, denoising_steps(schedule), strict=True):
        eps, v = predict(x, time)
        x = step.mean(x, eps, clip=0.0)
        if time != times[-1]:
            x = torch.addcmul(x, step.deviation(v), normal())
    return x


class Modulations(nn.Module):
    """All shifts, scales and gates of a head by two products, the last layer's in fp32.

    The weights of the norms are folded in, and the one that is added to every scale.
    """

    @torch.no_grad()
    def __init__(self, head: DiffusionHead) -> None:
        """Stack the weights; they are parameters so that autocast keeps its copies."""
        super().__init__()
        blocks = cast(list[ResidualBlock], list(head.res_blocks))
        self.depth = len(blocks)
        parts = [folded(block.adaLN_modulation, block.in_ln) for block in blocks]
        weight, bias = (torch.cat(part) for part in zip(*parts, strict=True))
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.last_weight, self.last_bias = folded(head.final_layer.adaLN_modulation)

    def forward(self, y: Float[Tensor, "k g r w"]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """For each of k steps those of all blocks (shift, scale, gate) and of the last layer."""
        y = F.silu(y)
        blocks = linear(y, self.weight, self.bias)
        with precision("float32", y.device):
            last = linear(y, self.last_weight, self.last_bias)
        for of_blocks, of_last in zip(blocks, last, strict=True):
            yield list(of_blocks.chunk(3 * self.depth, -1)), list(of_last.chunk(2, -1))


def folded(modulation: Modulation, norm: nn.LayerNorm | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias for shift + b (1 + scale), w (1 + scale) and the gate, if there is one."""
    layer = cast(nn.Linear, modulation[1])
    width = layer.in_features
    shift, scale = slice(0, width), slice(width, 2 * width)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    bias[scale] += 1
    if norm is not None:
        weight[shift] += norm.bias[:, None] * weight[scale]
        bias[shift] += norm.bias * bias[scale]
        weight[scale] *= norm.weight[:, None]
        bias[scale] *= norm.weight
    return weight, bias


class AncestralSampler:
    """Draws tokens from a head whose weights do not change any more."""

    @torch.no_grad()
    def __init__(
        self, head: DiffusionHead, num_steps: int, temperature: float, clip: float
    ) -> None:
        """Prepare `num_steps` respaced steps (MAR: 100 of 1000).

        `temperature` scales the noise that a step adds. `clip` bounds predicted clean tokens where
        it is above 0: at the first step an error of the noise is multiplied by thousands, which
        only long training survives.
        """
        self.head, self.temperature, self.clip = head, temperature, clip
        schedule = Schedule(space_steps(num_steps))
        self.steps = denoising_steps(schedule)
        self.num_precise = sum(step.gain > LARGEST_GAIN for step in self.steps)
        self.modulations = Modulations(head)
        weight = head.cond_embed.weight
        time = sent(schedule.original_step.flip(0).to(weight.dtype), weight.device)
        with precision("float32", time.device):
            self.times = head.time_embed(time)

    @torch.no_grad()
    def __call__(
        self, z: Float[Tensor, "g r d"], guidance: Float[Tensor, ""], noise: Float[Tensor, "s r c"]
    ) -> Float[Tensor, "r c"]:
        """Tokens from standard normal noise: that of the start, then that after every step.

        With the null class's z behind the label's, noise is guided as
        eps_null + guidance (eps - eps_null); the variance stays the conditional one. All is read
        on the device, so that a CUDA graph can record a call.
        """
        with precision("float32", z.device):
            condition = self.head.cond_embed(z)
        x, added = noise[0], [*noise[1:], None]
        for first, end in self._chunks(len(z) * z.shape[1]):
            with precision("float32", z.device) if first < self.num_precise else nullcontext():
                modulations = self.modulations(self.times[first:end, None, None] + condition)
                for i, modulation in zip(range(first, end), modulations, strict=True):
                    eps, v = self._net(x, *modulation)
                    x = self._next(self.steps[i], x, guided(eps, guidance), v[0], added[i])
        return x

    def _chunks(self, rows: int) -> Iterator[tuple[int, int]]:
        """Steps whose modulations are computed together: first those that must be precise."""
        at_once = max(1, ROWS_AT_ONCE // rows)
        starts = [0, *range(self.num_precise, len(self.steps), at_once), len(self.steps)]
        return pairwise(starts)

    def _net(
        self, x: Float[Tensor, "r c"], of_blocks: list[Tensor], of_last: list[Tensor]
    ) -> list[Float[Tensor, "g r c"]]:
        """Noise and variance position v under every condition, as from DiffusionHead.net."""
        with precision("float32", x.device):
            h = self.head.input_proj(x)
        for i, block in enumerate(cast(list[ResidualBlock], self.head.res_blocks)):
            shift, scale, gate = of_blocks[3 * i : 3 * i + 3]
            h = torch.addcmul(h, gate, block.mlp(torch.addcmul(shift, normalised(h), scale)))
        shift, scale = of_last
        with precision("float32", x.device):
            out = self.head.final_layer.linear(torch.addcmul(shift, normalised(h), scale))
        return list(out.chunk(2, -1))

    def _next(
        self, step: Step, x: Tensor, eps: Tensor, v: Tensor, noise: Tensor | None
    ) -> Float[Tensor, "r c"]:
        """One step towards the data; the last has no noise."""
        mean = step.mean(x, eps, self.clip)
        if noise is None:
            return mean
        return torch.addcmul(mean, step.deviation(v), noise, value=self.temperature)


def normalised(h: Tensor) -> Tensor:
    """Layer norm without weights."""
    return F.layer_norm(h, h.shape[-1:], eps=NORM_EPS)


def guided(eps: Float[Tensor, "g r c"], guidance: Float[Tensor, ""]) -> Float[Tensor, "r c"]:
    """Classifier-free guidance if there is a null condition."""
    if len(eps) == 1:
        return eps[0]
    return torch.addcmul(eps[1], guidance, eps[0] - eps[1])
