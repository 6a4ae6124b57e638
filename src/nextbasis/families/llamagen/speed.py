"""How LlamaGen's speed is measured: as that of all models of LlamaGen's kind."""

from nextbasis.families.common.llama_config import LlamaConfig
from nextbasis.families.common.llama_speed import (
    RECIPE,
    SAMPLING_BATCH,
    SIZES,
    SPEC,
    TRAINING_BATCH,
    fix,
    prepare,
    rows,
    sampler,
)

__all__ = [
    "PARAMETERS",
    "RECIPE",
    "ROWS",
    "SAMPLING_BATCH",
    "SPEC",
    "TRAINING_BATCH",
    "fix",
    "model",
    "prepare",
    "sampler",
]

PARAMETERS = 7_600_640  # of the official model, too
ROWS = rows("llamagen", guidance=2.0)


def model(dropout: float) -> LlamaConfig:
    """The benchmark's sizes."""
    return LlamaConfig(family="llamagen", dropout=dropout, **SIZES)
