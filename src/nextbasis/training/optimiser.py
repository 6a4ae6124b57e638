"""Optimiser groups, learning rates and the moving average of a training."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

from nextbasis.config import TrainConfig
from nextbasis.families.common.generator import Generator


def optimiser(generator: Generator, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with three groups: decayed and other weights of the backbone, and A.

    Which weights decay is each official recipe's own choice (`Backbone.decays`). A has its own
    learning rate and no decay, which would shrink it.
    """
    backbone = list(generator.backbone.named_parameters())
    decayed = [p for name, p in backbone if generator.backbone.decays(name, p)]
    others = [p for name, p in backbone if not generator.backbone.decays(name, p)]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay, "peak": config.lr},
        {"params": others, "weight_decay": 0.0, "peak": config.lr},
    ]
    if generator.basis is not None and generator.basis.config.learned:
        a = list(generator.basis.parameters())
        groups.append({"params": a, "weight_decay": 0.0, "peak": generator.basis.config.lr})
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def rate_factor(config: TrainConfig, step: int) -> float:
    """Share of the peak rate at a step: linear warm-up, constant, half cosine to min_lr."""
    warmup, start = config.warmup * config.steps, config.decay_start * config.steps
    if step < warmup:
        return step / warmup
    if step < start or start >= config.steps:
        return 1.0
    floor = config.min_lr / config.lr
    phase = (step - start) / (config.steps - start)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * phase))


def set_rates(optim: torch.optim.Optimizer, config: TrainConfig, step: int) -> None:
    """Set every group's learning rate for a step."""
    for group in optim.param_groups:
        group["lr"] = group["peak"] * rate_factor(config, step)


def moving_average(module: nn.Module, decay: float, sharded: bool = False) -> AveragedModel:
    """An EMA that averages from the first step on (torch's default copies the first update).

    All weights are averaged at once, or one after the other where some of them are `sharded`.
    """
    if sharded:
        ema = AveragedModel(module, avg_fn=get_ema_avg_fn(decay))
    else:
        ema = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))
    ema.n_averaged.fill_(1)
    return ema
