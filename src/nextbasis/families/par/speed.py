"""How PAR's speed is measured: as that of all models of LlamaGen's kind."""

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
from nextbasis.families.par.config import PARConfig

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

PARAMETERS = 7_601_408  # of the official model, too
ROWS = rows("par", guidance=1.5)


def model(dropout: float) -> PARConfig:
    """The benchmark's sizes."""
    return PARConfig(family="par", dropout=dropout, **SIZES, parallel=4)
