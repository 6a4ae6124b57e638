"""SiT: flow matching of all tokens of an image at once with DiT's transformer (Ma et al. 2024,
"SiT: Exploring Flow and Diffusion-based Generative Models with Scalable Interpolant Transformers"),
and REPA, which aligns what a block makes of noisy patches with a teacher's features of the clean
ones (Yu et al. 2025, "Representation Alignment for Generation").

Time 0 is data and 1 is noise, and a velocity is noise - data. SiT's own clock and velocity run the
other way; `time_one` of the config says which the network knows.

b images, n tokens of d channels in raster order, m patches, w the width, f features of a teacher.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.config import OrderConfig
from nextbasis.families.common import flow
from nextbasis.families.common.dit import Guided, LatentTransformer
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.parts import init_xavier
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.sit.config import SiTConfig, SiTSamplerConfig
from nextbasis.families.sit.solvers import Field, heun
from nextbasis.families.sit.teacher import teachers_of

Time = TypeVar("Time", float, Tensor)
NORMALISE_EPS = 1e-12  # of the length of features


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step."""

    label_drop: Bool[Tensor, " b"]
    time: Float[Tensor, " b"]
    noise: Float[Tensor, "b n d"]

    def share_level(self) -> "Draws":
        """The same: all tokens of an image have one noise level anyway."""
        return self

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(
            label_drop=self.label_drop[images], time=self.time[images], noise=self.noise[images]
        )


class SiT(LatentTransformer):
    """The transformer that predicts velocities, and the projectors of its alignment."""

    config: SiTConfig
    # What REPA compares with: features of clean tokens. No part of the state, as `prepare` says.
    teachers: Sequence[Callable[[Float[Tensor, "b n d"]], Float[Tensor, "b m _"]]]

    def __init__(self, config: SiTConfig, spec: TokenSpec, order: OrderConfig) -> None:
        """A model with fresh weights; see LatentTransformer."""
        outputs = spec.channels * (2 if config.learn_sigma else 1)
        super().__init__(config, spec, order, outputs)
        self.teachers = []
        self.projectors = nn.ModuleList(self._projector(width) for width in config.widths)
        init_xavier(self.projectors)

    def _projector(self, width: int) -> nn.Sequential:
        hidden = self.config.align_hidden
        first, inner = Linear(self.config.width, hidden), Linear(hidden, hidden)
        return nn.Sequential(first, nn.SiLU(), inner, nn.SiLU(), Linear(hidden, width))

    def prepare(self, tokens: Callable[[], Float[Tensor, "i n d"]]) -> None:
        """Make the teachers that the model is aligned with, the same for the same tokens."""
        if self.projectors:
            self.teachers = teachers_of(self.config, self.spec.sequence, tokens())

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step; noise levels are uniform in (0, 1], one per image."""
        return Draws(
            label_drop=torch.rand(batch, generator=generator) < self.config.label_drop,
            time=1 - torch.rand(batch, generator=generator),
            noise=torch.randn(batch, self.num_tokens, self.channels, generator=generator),
        )

    def loss(
        self,
        y: Float[Tensor, "b n d"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: Float[Tensor, "b n d"] | None = None,
    ) -> Loss:
        """Mean squared error of the velocity; while training, the alignment is taken off it.

        `target` replaces y in the velocity to predict, for a gradient that differs.
        """
        target = y if target is None else target
        labels = torch.where(draws.label_drop, self.null_label, labels)
        time = draws.time[:, None].expand(y.shape[:2])
        noisy = flow.interpolate(y, draws.noise, time[..., None])
        velocity, projected = self.velocity(noisy, draws.time, labels)
        error = draws.noise - target - velocity
        snr = time**-2  # of the velocity: its error is that of the clean token over t
        loss = Loss(value=error.square().mean(), error=error, snr=snr)
        if self.training and self.projectors:
            alignment = self.alignment(y.detach(), projected)
            loss.value = loss.value - self.config.align_weight * alignment
            loss.notes["alignment"] = alignment.detach()
        return loss

    def velocity(
        self,
        noisy: Float[Tensor, "b n d"],
        time: Float[Tensor, " b"],
        labels: Int[Tensor, " b"],
    ) -> tuple[Float[Tensor, "b n d"], list[Float[Tensor, "b m _"]]]:
        """dz/dt of all tokens, and the projections of the aligned block's output."""
        blocks, depth = list(self.blocks), self.config.align_depth
        y = self.condition(self.told(time), labels)
        h = self.run(self.embed(noisy), y, blocks[:depth])
        projected = [projector(h) for projector in self.projectors]
        h = self.run(h, y, blocks[depth:])
        return self._signed(self.read_out(h, y)), projected

    def told(self, time: Time) -> Time:
        """A time as the network counts it."""
        return 1 - time if self.config.time_one == "data" else time

    def _signed(self, out: Float[Tensor, "b n k"]) -> Float[Tensor, "b n d"]:
        """What the network says as noise - data."""
        velocity = out[..., : self.channels].float()
        return -velocity if self.config.time_one == "data" else velocity

    def alignment(
        self, clean: Float[Tensor, "b n d"], projected: list[Float[Tensor, "b m _"]]
    ) -> Float[Tensor, ""]:
        """Mean cosine of projections and the teachers' features (REPA, eq. 8).

        Raises: ValueError if `prepare` did not make the teachers.
        """
        if len(self.teachers) != len(projected):
            raise ValueError(
                "a model that is aligned with a teacher needs training tokens before its first "
                "step: call prepare"
            )
        cosines = [
            (unit(teacher(clean)) * unit(ours.float())).sum(-1).mean()
            for teacher, ours in zip(self.teachers, projected, strict=True)
        ]
        return torch.stack(cosines).mean()

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: SiTSamplerConfig
    ) -> Float[Tensor, "b n d"]:
        """All tokens at once; guidance acts within an interval of noise levels.

        Raises: ValueError if more channels are to be guided than there are.
        """

        def normal() -> Tensor:
            return noise.normal(self.num_tokens, self.channels)

        field, start = self.field(labels, sampler), normal()
        if sampler.solver == "euler_maruyama":
            times = flow.euler_maruyama_times(sampler.num_steps)
            return flow.euler_maruyama(
                lambda z, t: field(z, t, t), start, times, lambda: normal().double()
            )
        times = flow.euler_times(sampler.num_steps)
        if sampler.solver == "heun":
            return heun(field, start.double(), times).float()
        return flow.euler(lambda z, t: field(z, t, t), start.double(), times).float()

    def field(self, labels: Int[Tensor, " b"], sampler: SiTSamplerConfig) -> Field:
        """The velocity, guided where a step starts within the interval."""
        network = Guided(self, labels, sampler.guided_channels)

        def field(z: Tensor, t: float, start: float) -> Tensor:
            guided = sampler.guidance_low <= start <= sampler.guidance_high
            guidance = sampler.guidance if guided else 1.0
            return self._signed(network(z.float(), self.told(t), guidance))

        return field


def unit(features: Float[Tensor, "b m f"]) -> Float[Tensor, "b m f"]:
    """Features of length 1."""
    return F.normalize(features, dim=-1, eps=NORMALISE_EPS)


MODEL = SiT
