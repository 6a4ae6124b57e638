"""How DiT's speed is measured: the benchmark's sizes, batches and optimiser, and its rows."""

from typing import Any

import torch
from torch import nn

from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, sampling, training
from nextbasis.families.dit.config import DiTConfig, DiTSamplerConfig
from nextbasis.families.dit.model import Draws

SPEC = TokenSpec.of_grid((16, 16), channels=4, num_classes=NUM_CLASSES)
TRAINING_BATCH, SAMPLING_BATCH = 8, 4
RECIPE = {"beta2": 0.999, "weight_decay": 0.0, "clip": 0.0, "ema_decay": 0.9999}
PARAMETERS = 9_999_904  # of the official model of these sizes, too, but its constant positions
ROWS = [
    training("dit-train", "dit", dropout=0.0),
    training("dit-train-bf16", "dit", dropout=0.0, bf16=True),
    sampling("dit-sample", "dit", guidance=1.5),
    sampling("dit-sample-cfg1", "dit", guidance=1.0),
]


def model(dropout: float) -> DiTConfig:
    """The benchmark's sizes."""
    return DiTConfig(
        family="dit",
        dropout=dropout,
        label_drop=0.1,
        width=WIDTH,
        depth=8,
        num_heads=4,
        mlp_ratio=4.0,
        patch=2,
    )


def sampler(guidance: float, **common: Any) -> DiTSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return DiTSamplerConfig(
        guidance=guidance, guided_channels=3, solver="ddpm", num_steps=25, **common
    )


def fix(draws: Draws) -> Draws:
    """A step's random numbers: the work is the same whatever they are."""
    return draws


@torch.no_grad()
def prepare(backbone: nn.Module) -> None:
    """Let a fresh network say something: its modulations and its last layer start at zero."""
    for parameter in backbone.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
