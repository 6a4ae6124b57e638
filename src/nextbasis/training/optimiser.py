"""Optimiser groups, learning rates and the moving average of a training."""

import copy
import math
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from nextbasis.config import TrainConfig
from nextbasis.families.common.generator import Generator
from nextbasis.training.adan import Adan


def optimiser(generator: Generator, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW or Adan with three groups: decayed and other weights of the backbone, and A.

    Which weights decay is each official recipe's own choice (`Backbone.decays`). A has its own
    learning rate and no decay, which would shrink it.
    """
    backbone = list(generator.backbone.named_parameters())
    decayed = [p for name, p in backbone if generator.backbone.decays(name, p)]
    others = [p for name, p in backbone if not generator.backbone.decays(name, p)]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay, "peak": config.lr, "decays": True},
        {"params": others, "weight_decay": 0.0, "peak": config.lr, "decays": False},
    ]
    if generator.basis is not None and generator.basis.config.learned:
        a = list(generator.basis.parameters())
        peak = generator.basis.config.lr
        groups.append({"params": a, "weight_decay": 0.0, "peak": peak, "decays": False})
    if config.optimizer == "adan":
        assert config.beta3 is not None
        return Adan(groups, config.lr, (config.beta1, config.beta2, config.beta3))
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def rate_factor(config: TrainConfig, step: int) -> float:
    """Share of the peak rate at a step: linear warm-up, constant, then falling to min_lr."""
    warmup, start = config.warmup * config.steps, config.decay_start * config.steps
    if step < warmup:
        return config.warmup_start + (1 - config.warmup_start) * step / warmup
    if step < start or start >= config.steps:
        return 1.0
    floor = config.min_lr / config.lr
    phase = (step - start) / (config.steps - start)
    return floor + (1 - floor) * (1 - phase if config.decay == "linear" else half_cosine(phase))


def half_cosine(phase: float) -> float:
    """From 1 at phase 0 to 0 at phase 1."""
    return 0.5 * (1 + math.cos(math.pi * phase))


def weight_decay(config: TrainConfig, step: int) -> float:
    """Of the weights that decay, at a step."""
    if config.weight_decay_end is None:
        return config.weight_decay
    left = half_cosine(step / config.steps)
    return config.weight_decay_end + (config.weight_decay - config.weight_decay_end) * left


def set_rates(optim: torch.optim.Optimizer, config: TrainConfig, step: int) -> None:
    """Set every group's learning rate and weight decay for a step."""
    for group in optim.param_groups:
        group["lr"] = group["peak"] * rate_factor(config, step)
        if group["decays"]:
            group["weight_decay"] = weight_decay(config, step)


class MovingAverage(nn.Module):
    """A copy of a model whose weights follow it: w <- decay w + (1 - decay) w of the model, a step.

    It starts as the model does; buffers are those of the model.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Copy the model."""
        super().__init__()
        self.module, self.decay = copy.deepcopy(model).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follow the model after a step; the host does not wait for a GPU."""
        pairs = list(zip(self.module.parameters(), model.parameters(), strict=True))
        sharded = [pair for pair in pairs if isinstance(pair[0], DTensor)]
        whole = [pair for pair in pairs if not isinstance(pair[0], DTensor)]
        for kept, new in (tuple(zip(*some, strict=True)) for some in (sharded, whole) if some):
            torch._foreach_lerp_(kept, new, 1 - self.decay)
        for buffer, value in zip(self.module.buffers(), model.buffers(), strict=True):
            buffer.copy_(value)
