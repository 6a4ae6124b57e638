"""How RAR's speed is measured: the benchmark's sizes, batches and optimiser, and its rows."""

from typing import Any

from torch import nn

from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, sampling, training
from nextbasis.families.rar.config import RARConfig, RARSamplerConfig
from nextbasis.families.rar.model import Draws

SPEC = TokenSpec.of_grid((16, 16), channels=0, codebook_size=1024, num_classes=NUM_CLASSES)
TRAINING_BATCH, SAMPLING_BATCH = 16, 16
RECIPE = {"beta2": 0.96, "weight_decay": 0.03, "clip": 1.0}  # and no moving average
PARAMETERS = 11_137_280  # of the official model, too; both include table rows that nothing reads
ROWS = [
    training("rar-train", "rar", dropout=0.1),
    training("rar-train-nodrop", "rar", dropout=0.0),
    training("rar-train-bf16", "rar", dropout=0.1, bf16=True),
    training("rar-train-nodrop-bf16", "rar", dropout=0.0, bf16=True),
    sampling("rar-sample", "rar", guidance=8.0),
    sampling("rar-sample-cfg1", "rar", guidance=1.0),
]


def model(dropout: float) -> RARConfig:
    """The benchmark's sizes."""
    return RARConfig(
        family="rar",
        dropout=dropout,
        label_drop=0.1,
        width=WIDTH,
        depth=8,
        num_heads=8,
        mlp_width=1024,
        surplus_positions=1022,  # of n + 1024 official rows, n + 2 are read
        surplus_timesteps=98,  # of n + 100
    )


def sampler(guidance: float, **common: Any) -> RARSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return RARSamplerConfig(guidance=guidance, guidance_power=1.2, temperature=1.0, **common)


def fix(draws: Draws) -> Draws:
    """A step's random numbers: the work is the same whatever they are."""
    return draws


def prepare(backbone: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""
