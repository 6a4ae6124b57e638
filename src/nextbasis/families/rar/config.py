"""What RAR's model and sampler are told."""

from dataclasses import dataclass

from nextbasis.config.checks import check_heads, positive
from nextbasis.config.model import ModelBase
from nextbasis.config.running import SamplerBase


@dataclass(kw_only=True)
class RARConfig(ModelBase):
    """RAR: causal transformer over permuted ids, target-aware positions (Yu et al. 2024)."""

    width: int  # channels of a token in the model
    depth: int  # transformer blocks
    num_heads: int  # attention heads of a block
    mlp_width: int  # inside the MLP
    # Rows of the position tables that are never read: released models have 1022, and exact exchange
    # with the official code needs them.
    surplus_positions: int = 0
    # Rows of the time table that are never read; released models have 98.
    surplus_timesteps: int = 0

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        check_heads(self, "width", "num_heads")
        positive("model", self, "depth", "mlp_width")
        for name in ("surplus_positions", "surplus_timesteps"):
            if getattr(self, name) < 0:
                raise ValueError(f"model.{name} must not be negative, got {getattr(self, name)}")


@dataclass(kw_only=True)
class RARSamplerConfig(SamplerBase):
    """RAR: one id after another; guidance grows as a power-cosine."""

    guidance_power: float  # 0 = constant guidance
    temperature: float  # divides the logits

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        positive("sampler", self, "temperature")


MODEL, SAMPLER = RARConfig, RARSamplerConfig
