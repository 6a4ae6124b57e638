"""How MAR's speed is measured: the benchmark's sizes, batches and optimiser, and its rows."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, sampling, training
from nextbasis.families.mar.config import MARConfig, MARSamplerConfig
from nextbasis.families.mar.model import Draws

SPEC = TokenSpec.of_grid((8, 8), channels=16, num_classes=NUM_CLASSES)
TRAINING_BATCH, SAMPLING_BATCH = 8, 4
RECIPE = {"beta2": 0.95, "weight_decay": 0.02, "clip": 3.0, "ema_decay": 0.9999}
PARAMETERS = 8_033_568  # of the official model of these sizes, too, so that the work is the same
HIDDEN = 55  # of 64 tokens: a mask ratio of .85
ROWS = [
    training("mar-train", "mar", dropout=0.1),
    training("mar-train-nodrop", "mar", dropout=0.0),
    training("mar-train-bf16", "mar", dropout=0.1, bf16=True),
    sampling("mar-sample", "mar", guidance=3.0),
    sampling("mar-sample-cfg1", "mar", guidance=1.0),
    sampling("mar-sample-bf16", "mar", guidance=3.0, bf16=True),
    sampling("mar-sample-cfg1-bf16", "mar", guidance=1.0, bf16=True),
]


def model(dropout: float) -> MARConfig:
    """The benchmark's sizes."""
    return MARConfig(
        family="mar",
        dropout=dropout,
        label_drop=0.1,
        encoder_width=WIDTH,
        encoder_depth=4,
        encoder_heads=4,
        decoder_width=WIDTH,
        decoder_depth=4,
        decoder_heads=4,
        mlp_ratio=4.0,
        buffer_size=16,
        head_width=256,
        head_depth=3,
        head_batch_mul=4,
        mask_ratio_min=0.7,
        mask_ratio_std=0.25,
    )


def sampler(guidance: float, **common: Any) -> MARSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return MARSamplerConfig(
        guidance=guidance,
        guidance_schedule="linear",
        num_iter=16,
        num_steps=25,
        temperature=1.0,
        clip=0.0,
        **common,
    )


def fix(draws: Draws) -> Draws:
    """A step's random numbers with the same number of hidden tokens as every step has."""
    return replace(draws, num_hidden=HIDDEN)


@torch.no_grad()
def prepare(backbone: nn.Module) -> None:
    """Let a fresh head predict something: its last layer starts at zero."""
    for parameter in backbone.get_submodule("head").parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
