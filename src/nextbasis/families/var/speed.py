"""How VAR's speed is measured: the benchmark's sizes, batches and optimiser, and its rows."""

from typing import Any

import torch
from torch import nn

from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, sampling, training
from nextbasis.families.var.config import VARConfig, VARSamplerConfig
from nextbasis.families.var.model import VAR, Draws

SIDES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)  # of the levels of the released models, 680 tokens
SPEC = TokenSpec(
    kind="ids",
    levels=tuple((side, side) for side in SIDES),
    sizes=(1024,),
    num_classes=NUM_CLASSES,
)
CODE_CHANNELS = 32
TRAINING_BATCH, SAMPLING_BATCH = 4, 8
RECIPE = {"beta2": 0.95, "weight_decay": 0.05, "clip": 2.0}  # and no moving average
PARAMETERS = 10_302_240  # of the official model of these sizes, too
ROWS = [
    training("var-train", "var", dropout=0.0),
    training("var-train-bf16", "var", dropout=0.0, bf16=True),
    sampling("var-sample", "var", guidance=2.5),
    sampling("var-sample-cfg1", "var", guidance=1.0),
]


def model(dropout: float) -> VARConfig:
    """The benchmark's sizes."""
    return VARConfig(
        family="var",
        dropout=dropout,
        label_drop=0.1,
        width=WIDTH,
        depth=8,
        num_heads=4,  # of 64 numbers, as in all released models
        mlp_width=1024,
        code_channels=CODE_CHANNELS,
        drop_path=0.0,
        gate_init=1e-3,
        shared_modulation=False,
    )


def sampler(guidance: float, **common: Any) -> VARSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return VARSamplerConfig(guidance=guidance, top_k=900, top_p=0.96, **common)


def fix(draws: Draws) -> Draws:
    """A step's random numbers: the work is the same whatever they are."""
    return draws


def prepare(backbone: nn.Module) -> None:
    """Give it codes, if it has none: the work is the same whatever they are."""
    assert isinstance(backbone, VAR)
    if backbone.pyramid is not None:
        return
    count, channels = len(SPEC.levels), CODE_CHANNELS
    shapes: dict[str, tuple[int, ...]] = {"codebook": (SPEC.size, channels)}
    shapes |= {"kernels": (count, channels, channels, 3, 3), "biases": (count, channels)}
    random = torch.Generator().manual_seed(0)
    backbone.attach_codes({n: torch.randn(s, generator=random) for n, s in shapes.items()})
