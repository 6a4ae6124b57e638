"""What xAR's model and sampler are told."""

from dataclasses import dataclass

from nextbasis.config.checks import check_heads, choose, positive
from nextbasis.config.model import ModelBase
from nextbasis.config.running import SamplerBase


@dataclass(kw_only=True)
class XARConfig(ModelBase):
    """xAR: cells, flow matching, noisy context (Ren et al. 2025)."""

    width: int  # channels of a token in the model
    encoder_depth: int  # blocks before the middle projection
    decoder_depth: int  # blocks after the middle projection
    num_heads: int  # attention heads of a block
    mlp_ratio: float  # of a plain MLP, officially 4; the gated one has two thirds of it
    cells_per_side: int  # the grid is cut into so many cells along each side; officially 2
    text_depth: int = 0  # blocks over the tokens of captions, where there are any

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        check_heads(self, "width", "num_heads")
        positive("model", self, "encoder_depth", "decoder_depth", "cells_per_side", "mlp_ratio")
        if self.width // self.num_heads % 4:
            raise ValueError(
                f"model.width / model.num_heads must be a multiple of 4 for two-dimensional RoPE, "
                f"got {self.width} / {self.num_heads}"
            )


@dataclass(kw_only=True)
class XARSamplerConfig(SamplerBase):
    """xAR: cell after cell, an ODE or SDE in each; guidance grows linearly over cells."""

    solver: str  # euler or euler_maruyama
    num_steps: int  # network calls per cell

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        choose("sampler.solver", self.solver, ("euler", "euler_maruyama"))
        if self.num_steps < 3:
            raise ValueError(f"sampler.num_steps must be at least 3, got {self.num_steps}")


MODEL, SAMPLER = XARConfig, XARSamplerConfig
