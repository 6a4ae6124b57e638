"""How REPA's speed is measured: SiT's work with an alignment, whose teacher costs nothing.

The features are the patches themselves: what a teacher takes is not the model's, and the official
code computes it outside of the loss, too.
"""

from dataclasses import replace
from typing import Any

from nextbasis.families.sit import speed
from nextbasis.families.sit.config import SiTConfig, SiTSamplerConfig
from nextbasis.families.sit.speed import (  # noqa: F401
    SAMPLING_BATCH,
    SPEC,
    TRAINING_BATCH,
    fix,
    prepare,
)

RECIPE = speed.RECIPE | {"clip": 1.0}
PARAMETERS = 10_398_240  # of the official model of these sizes, too, but its constant positions
FEATURES = 16  # numbers of a patch


def model(dropout: float) -> SiTConfig:
    """The benchmark's sizes."""
    return replace(
        speed.model(dropout),
        time_one="noise",
        learn_sigma=False,
        align_weight=0.5,
        align_depth=4,
        align_hidden=512,
        teacher="tokens",
        teacher_widths=str(FEATURES),
    )


def sampler(guidance: float, **common: Any) -> SiTSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    return replace(speed.sampler(guidance, **common), guided_channels=0)
