"""How xAR's speed is measured: the benchmark's sizes, batches and optimiser, and its rows."""

from typing import Any

from torch import nn

from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, sampling, training
from nextbasis.families.xar.config import XARConfig, XARSamplerConfig
from nextbasis.families.xar.model import Draws

SPEC = TokenSpec.of_grid((16, 16), channels=16, num_classes=NUM_CLASSES)
TRAINING_BATCH, SAMPLING_BATCH = 2, 2
RECIPE = {"beta2": 0.96, "weight_decay": 0.02, "clip": 1.0, "ema_decay": 0.9999}
PARAMETERS = 10_060_464  # of the official model of these sizes, too, so that the work is the same
ROWS = [
    training("xar-train", "xar", dropout=0.1),
    training("xar-train-nodrop", "xar", dropout=0.0),
    sampling("xar-sample", "xar", guidance=2.7),
    sampling("xar-sample-cfg1", "xar", guidance=1.0),
]


def model(dropout: float) -> XARConfig:
    """The benchmark's sizes."""
    return XARConfig(
        family="xar",
        dropout=dropout,
        label_drop=0.1,
        width=WIDTH,
        encoder_depth=4,
        decoder_depth=4,
        num_heads=4,
        mlp_ratio=4.0,
        cells_per_side=2,
    )


def sampler(guidance: float, **common: Any) -> XARSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return XARSamplerConfig(guidance=guidance, solver="euler_maruyama", num_steps=8, **common)


def fix(draws: Draws) -> Draws:
    """A step's random numbers: the work is the same whatever they are."""
    return draws


def prepare(backbone: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""
