"""What DiT's model and sampler are told."""

import math
from dataclasses import dataclass

from nextbasis.config.checks import choose
from nextbasis.families.common.dit_config import LatentSamplerConfig, LatentTransformerConfig

NUM_STEPS = 1000  # of training; common.schedule's


@dataclass(kw_only=True)
class DiTConfig(LatentTransformerConfig):
    """DiT: shifts, scales and gates by time and class, noise and variance out (section 3)."""


@dataclass(kw_only=True)
class DiTSamplerConfig(LatentSamplerConfig):
    """DiT: all tokens at once, denoised in a part of the steps of training."""

    solver: str  # ddpm (ancestral, with the learned variance) or ddim (no noise is added)
    num_steps: int  # network calls

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        choose("sampler.solver", self.solver, ("ddpm", "ddim"))
        if not 2 <= self.num_steps <= NUM_STEPS:
            raise ValueError(
                f"sampler.num_steps must lie in [2, {NUM_STEPS}], got {self.num_steps}"
            )
        if self.solver == "ddim":
            strided_steps(self.num_steps)


def strided_steps(num_steps: int) -> list[int]:
    """Every so many steps of training, from the first on: those of DDIM.

    Raises: ValueError if no stride gives so many, naming the nearest numbers.
    """
    stride = math.ceil(NUM_STEPS / num_steps)
    if len(steps := list(range(0, NUM_STEPS, stride))) == num_steps:
        return steps
    fewer, more = (math.ceil(NUM_STEPS / each) for each in (stride, stride - 1))
    raise ValueError(
        f"sampler.num_steps of sampler.solver=ddim must be such as a stride gives, {fewer} or "
        f"{more}, got {num_steps}"
    )


MODEL, SAMPLER = DiTConfig, DiTSamplerConfig
