"""What PAR's model and sampler are told."""

import math
from dataclasses import dataclass

from nextbasis.families.common.llama_config import LlamaConfig, LlamaSamplerConfig


@dataclass(kw_only=True)
class PARConfig(LlamaConfig):
    """PAR: a transformer of LlamaGen's kind that draws a token of every region at once."""

    parallel: int  # regions, and ids drawn together: officially 4 or 16; 1 is LlamaGen

    def __post_init__(self) -> None:
        """Check that regions form a square."""
        super().__post_init__()
        if self.parallel < 1 or self.regions_per_side**2 != self.parallel:
            raise ValueError(
                "model.parallel must be a square number, of regions in rows and columns; "
                f"got {self.parallel}"
            )

    @property
    def regions_per_side(self) -> int:
        """Regions along each side of the grid."""
        return math.isqrt(max(0, self.parallel))


MODEL, SAMPLER = PARConfig, LlamaSamplerConfig
