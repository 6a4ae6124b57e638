"""How MDTv2's speed is measured: the benchmark's sizes, batches and optimiser, and its rows."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, sampling, training
from nextbasis.families.mdtv2.config import MDTv2Config, MDTv2SamplerConfig
from nextbasis.families.mdtv2.model import Draws

SPEC = TokenSpec.of_grid((32, 32), channels=4, num_classes=NUM_CLASSES)
TRAINING_BATCH, SAMPLING_BATCH = 2, 2
RECIPE: dict[str, Any] = {"weight_decay": 0.0, "clip": 1.0, "ema_decay": 0.9999}
RECIPE |= {"optimizer": "adan", "beta1": 0.98, "beta2": 0.92, "beta3": 0.99}
PARAMETERS = 12_137_392  # of the official model of these sizes, too, so that the work is the same
KEPT = 153  # of 256 patches: the mean
ROWS = [
    training("mdtv2-train", "mdtv2", dropout=0.0),
    training("mdtv2-train-bf16", "mdtv2", dropout=0.0, bf16=True),
    sampling("mdtv2-sample", "mdtv2", guidance=3.8),
    sampling("mdtv2-sample-cfg1", "mdtv2", guidance=1.0),
]


def model(dropout: float) -> MDTv2Config:
    """The benchmark's sizes."""
    return MDTv2Config(
        family="mdtv2",
        dropout=dropout,
        label_drop=0.1,
        width=WIDTH,
        depth=8,
        decoder_depth=4,
        num_heads=4,
        mlp_ratio=4.0,
        patch=2,
        mask_ratio=0.3,
        mask_spread=0.2,
        snr_bound=5.0,
    )


def sampler(guidance: float, **common: Any) -> MDTv2SamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return MDTv2SamplerConfig(
        guidance=guidance, guided_channels=3, guidance_power=4.0, num_steps=25, **common
    )


def fix(draws: Draws) -> Draws:
    """A step's random numbers with the same number of shown patches as every step has."""
    return replace(draws, kept=torch.arange(KEPT).expand(len(draws.kept), -1))


@torch.no_grad()
def prepare(backbone: nn.Module) -> None:
    """Let a fresh network predict something: its last layer and its gates start at zero."""
    for parameter in backbone.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
