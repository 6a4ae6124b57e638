"""Compare training steps of MDTv2 with a fixture: its own optimiser, Adan, takes them.

The package trains with AdamW; Adan is here for the comparison.
"""

from collections.abc import Iterable
from copy import deepcopy
from types import EllipsisType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from nextbasis.families.mdtv2.model import Draws, MDTv2, kept_patches
from nextbasis.official import official_name
from nextbasis.parity.fixture import Fixture

WEIGHTS = 3e-4  # tolerance: Adan, as Adam, magnifies rounding of gradients that are nearly zero


class Adan:
    """Adaptive Nesterov momentum (Xie et al. 2022, algorithm 1); decays as Adam counts them."""

    def __init__(self, parameters: Iterable[nn.Parameter], settings: dict[str, Any]) -> None:
        """`settings` are lr, betas, eps, weight_decay and clip, 0 for none."""
        self.parameters, self.settings, self.step_count = list(parameters), settings, 0
        zeros = [[torch.zeros_like(p) for p in self.parameters] for _ in range(4)]
        self.mean, self.difference, self.square, self.previous = zeros

    @torch.no_grad()
    def step(self) -> Tensor:
        """Change the parameters; return the norm of their gradients before clipping."""
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        norm = torch.stack([g.norm() for g in grads]).norm()
        clip, eps = self.settings["clip"], self.settings["eps"]
        factor = (clip / (norm + eps)).clamp(max=1) if clip else torch.ones_like(norm)
        if self.step_count == 0:
            self.previous = [g * factor for g in grads]
        self.step_count += 1
        for index, grad in enumerate(grads):
            self._update(index, grad * factor)
        return norm

    def _update(self, index: int, grad: Tensor) -> None:
        beta1, beta2, beta3 = self.settings["betas"]
        lr, decay = self.settings["lr"], self.settings["weight_decay"]
        change = grad - self.previous[index]
        self.previous[index] = grad
        mean = self.mean[index].lerp_(grad, 1 - beta1)
        difference = self.difference[index].lerp_(change, 1 - beta2)
        square = self.square[index].lerp_((grad + beta2 * change).square(), 1 - beta3)
        left = [1 - beta**self.step_count for beta in (beta1, beta2, beta3)]
        size = square.sqrt() / left[2] ** 0.5 + self.settings["eps"]
        move = (mean / left[0] + beta2 * difference / left[1]) / size
        self.parameters[index].sub_(lr * move).div_(1 + lr * decay)


def draws_of(fixture: Fixture, model: MDTv2, part: str, which: int | EllipsisType) -> Draws:
    """The fixture's random numbers under a name, of one step where it holds several."""

    def read(name: str) -> Tensor:
        return fixture[part + name][which]

    noise = torch.stack([read("noise"), read("mask_noise")])
    drop = torch.stack([read("label_u"), read("mask_label_u")]) < model.config.label_drop
    return Draws(
        label_drop=drop,
        step=read("t"),
        noise=rearrange(noise, "k b c h w -> k b (h w) c"),
        kept=kept_patches(model.config, read("ratio_u")[0], read("mask_u")),
    )


def run(fixture: Fixture, model: MDTv2) -> None:
    """Compare train.{losses,grad_norms,param.*,ema.*}; changes the model."""
    settings = fixture.value("train")
    tokens = rearrange(fixture["loss.latents"], "b c h w -> b (h w) c")
    optim, average = Adan(model.parameters(), settings), deepcopy(model).requires_grad_(False)
    losses, norms = [], []
    for step in range(settings["steps"]):
        model.zero_grad()
        draws = draws_of(fixture, model, "train.", step)
        loss = model.loss(tokens, fixture["loss.labels"], draws).value
        loss.backward()
        norms.append(optim.step())
        for mean, new in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(new.detach(), 1 - settings["ema_rate"])
        losses.append(loss.detach())
    fixture.check("train.losses", torch.stack(losses))
    fixture.check("train.grad_norms", torch.stack(norms))
    for kind, source in (("param", model), ("ema", average)):
        for name, parameter in source.named_parameters():
            output = f"train.{kind}.{official_name('mdtv2', name)}"
            fixture.check(output, parameter, tolerance=WEIGHTS)
