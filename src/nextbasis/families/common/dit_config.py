"""What the transformers that denoise latents are told: DiT, SiT and REPA."""

from dataclasses import dataclass

from nextbasis.config.checks import check_heads, positive
from nextbasis.config.model import ModelBase
from nextbasis.config.running import SamplerBase


@dataclass(kw_only=True)
class LatentTransformerConfig(ModelBase):
    """Sizes of the transformer."""

    width: int  # channels of a token in the model
    depth: int  # transformer blocks
    num_heads: int  # attention heads of a block
    mlp_ratio: float  # width inside the MLP, over width
    patch: int  # tokens along the side of a patch

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        check_heads(self, "width", "num_heads")
        positive("model", self, "depth", "patch", "mlp_ratio")
        if self.width % 4:
            raise ValueError(
                f"model.width must be a multiple of 4 for the table of positions, got {self.width}"
            )


@dataclass(kw_only=True)
class LatentSamplerConfig(SamplerBase):
    """What samplers of all tokens at once are told."""

    guided_channels: int  # the first so many are guided; 0 = all

    def __post_init__(self) -> None:
        """Check the range."""
        super().__post_init__()
        if self.guided_channels < 0:
            raise ValueError(
                f"sampler.guided_channels must not be negative, got {self.guided_channels}"
            )
