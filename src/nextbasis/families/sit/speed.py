"""How SiT's speed is measured: the benchmark's sizes, batches and optimiser, and its rows."""

from typing import Any

import torch
from torch import nn

from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, sampling, training
from nextbasis.families.sit.config import SiTConfig, SiTSamplerConfig
from nextbasis.families.sit.model import Draws

SPEC = TokenSpec.of_grid((32, 32), channels=4, num_classes=NUM_CLASSES)
TRAINING_BATCH, SAMPLING_BATCH = 4, 2
RECIPE = {"beta2": 0.999, "weight_decay": 0.0, "clip": 0.0, "ema_decay": 0.9999}
PARAMETERS = 9_999_904  # of the official model of these sizes, too, but its constant positions
ROWS = [
    training("sit-train", "sit", dropout=0.0),
    sampling("sit-sample", "sit", guidance=1.5),
    sampling("sit-sample-cfg1", "sit", guidance=1.0),
    training("repa-train", "sit", dropout=0.0, variant="repa"),
    training("repa-train-bf16", "sit", dropout=0.0, bf16=True, variant="repa"),
    sampling("repa-sample", "sit", guidance=1.8, variant="repa"),
    sampling("repa-sample-cfg1", "sit", guidance=1.0, variant="repa"),
]


def model(dropout: float) -> SiTConfig:
    """The benchmark's sizes."""
    return SiTConfig(
        family="sit",
        dropout=dropout,
        label_drop=0.1,
        width=WIDTH,
        depth=8,
        num_heads=4,
        mlp_ratio=4.0,
        patch=2,
        time_one="data",
        learn_sigma=True,
    )


def sampler(guidance: float, **common: Any) -> SiTSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return SiTSamplerConfig(
        guidance=guidance,
        guidance_low=0.0,
        guidance_high=1.0,
        guided_channels=3,
        solver="euler_maruyama",
        num_steps=8,
        **common,
    )


def fix(draws: Draws) -> Draws:
    """A step's random numbers: the work is the same whatever they are."""
    return draws


@torch.no_grad()
def prepare(backbone: nn.Module) -> None:
    """Let a fresh model predict something: its modulations and last layer start at zero."""
    for parameter in backbone.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
