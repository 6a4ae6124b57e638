"""What VAR's model and sampler are told."""

from dataclasses import dataclass

from nextbasis.config.checks import check_heads, fraction, positive
from nextbasis.config.model import ModelBase
from nextbasis.config.running import SamplerBase


@dataclass(kw_only=True)
class VARConfig(ModelBase):
    """VAR: a transformer that predicts all ids of a level at once (Tian et al. 2024)."""

    width: int  # channels of a token in the model
    depth: int  # transformer blocks
    num_heads: int  # attention heads of a block
    mlp_width: int  # inside the MLP
    code_channels: int  # numbers of a code: the tokenizer's, whose maps the model is fed
    drop_path: float  # probability that a branch of the last block is dropped; linear in the depth
    gate_init: float  # share of the usual deviation that weights of gates start with
    # Whether one layer modulates all blocks, which add an offset of their own: d36-s.
    shared_modulation: bool

    def __post_init__(self) -> None:
        """Check sizes and probabilities."""
        super().__post_init__()
        check_heads(self, "width", "num_heads")
        positive("model", self, "depth", "mlp_width", "code_channels", "gate_init")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"model.drop_path must lie in [0, 1), got {self.drop_path}")


@dataclass(kw_only=True)
class VARSamplerConfig(SamplerBase):
    """VAR: level after level; guidance grows linearly from none at the first to full strength.

    The official `cfg` is guidance - 1.
    """

    top_k: int  # an id is one of the k likeliest; 0 = any
    top_p: float  # an id is one of the likeliest that together have this probability; 1 = any

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        fraction("sampler", self, "top_p")
        if self.top_k < 0:
            raise ValueError(f"sampler.top_k must be at least 0 (any), got {self.top_k}")


MODEL, SAMPLER = VARConfig, VARSamplerConfig
