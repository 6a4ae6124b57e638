"""DiT: a transformer that denoises all latents of an image at once (Peebles & Xie 2023, "Scalable
Diffusion Models with Transformers").

The network is told the step and the class, and says the noise of every token and the variance of
the step before. It is the host without an order: what a basis does to it is not done by the order
in which tokens are drawn.

b images, n tokens of d channels in raster order.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nextbasis.config import OrderConfig
from nextbasis.families.common.ancestral import denoised
from nextbasis.families.common.dit import (
    Guided,
    LatentTransformer,
)
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.schedule import (
    Schedule,
    linear_betas,
    space_steps,
    variational_bound,
)
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.dit.config import DiTConfig, DiTSamplerConfig, strided_steps
from nextbasis.families.dit.implicit import Predict, implicitly_denoised


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step; tokens of an image share their noise level."""

    label_drop: Bool[Tensor, " b"]
    step: Int[Tensor, " b"]
    noise: Float[Tensor, "b n d"]

    def share_level(self) -> "Draws":
        """The same: there is one noise level for all tokens of an image."""
        return self

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(
            label_drop=self.label_drop[images], step=self.step[images], noise=self.noise[images]
        )


class DiT(LatentTransformer):
    """The transformer that says noise and variance."""

    config: DiTConfig

    def __init__(self, config: DiTConfig, spec: TokenSpec, order: OrderConfig) -> None:
        """Tokens form a grid, both of whose sides the patch must divide; `order` is not used."""
        super().__init__(config, spec, order, num_outputs=2 * spec.channels)
        self.schedule = Schedule(betas=linear_betas)

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step."""
        return Draws(
            label_drop=torch.rand(batch, generator=generator) < self.config.label_drop,
            step=torch.randint(len(self.schedule), (batch,), generator=generator),
            noise=torch.randn(batch, self.num_tokens, self.channels, generator=generator),
        )

    def loss(
        self,
        y: Float[Tensor, "b n d"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: Float[Tensor, "b n d"] | None = None,
    ) -> Loss:
        """Mean squared error of the noise plus the variational bound, which trains the variance.

        The bound is in bits a number, of a detached noise (Nichol & Dhariwal 2021, L_hybrid with
        weight 1). `target` replaces y in it, for a gradient that differs.
        """
        target = y if target is None else target
        labels = torch.where(draws.label_drop, self.null_label, labels)
        step = self.steps(draws)
        noisy = self.noisy(y, draws)
        eps, v = self.net(noisy, self.condition(draws.step.float(), labels)).chunk(2, -1)
        bound = variational_bound(self.schedule, target, noisy, step, eps.detach(), v)
        error = draws.noise - eps
        value = error.square().mean() + bound.mean()
        return Loss(value=value, error=error, snr=self.schedule.snr(step))

    def steps(self, draws: Draws) -> Int[Tensor, "b n"]:
        """The step of every token."""
        return draws.step[:, None].expand_as(draws.noise[..., 0])

    def noisy(self, y: Float[Tensor, "b n d"], draws: Draws) -> Float[Tensor, "b n d"]:
        """What the network is shown."""
        rows, step, noise = y.flatten(0, 1), self.steps(draws).flatten(), draws.noise.flatten(0, 1)
        return self.schedule.add_noise(rows, step, noise).view_as(y)

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: DiTSamplerConfig
    ) -> Float[Tensor, "b n d"]:
        """Denoise all tokens together; the network is told the steps as in training.

        Raises: ValueError if more channels are to be guided than there are.
        """

        def normal() -> Tensor:
            return noise.normal(self.num_tokens, self.channels)

        # On the CPU, where its numbers are read.
        if sampler.solver == "ddim":
            schedule = Schedule(strided_steps(sampler.num_steps), linear_betas)
            return implicitly_denoised(self._predictor(labels, sampler), schedule, normal())
        schedule = Schedule(space_steps(sampler.num_steps), linear_betas)
        return denoised(self._predictor(labels, sampler), schedule, normal)

    def _predictor(self, labels: Int[Tensor, " b"], sampler: DiTSamplerConfig) -> Predict:
        """Guided noise of x at a step of training, and the conditional variance position."""
        guided = Guided(self, labels, sampler.guided_channels)

        def predict(x: Tensor, step: int) -> tuple[Tensor, Tensor]:
            eps, v = guided(x, float(step), sampler.guidance).chunk(2, -1)
            return eps, v

        return predict


MODEL = DiT
