"""What models of LlamaGen's kind are told, and their samplers."""

from dataclasses import dataclass

from nextbasis.config.checks import check_heads, positive
from nextbasis.config.model import ModelBase
from nextbasis.config.running import SamplerBase


@dataclass(kw_only=True)
class LlamaConfig(ModelBase):
    """LlamaGen: a causal transformer over ids with rotary positions (Sun et al. 2024)."""

    width: int  # channels of a token in the model
    depth: int  # transformer blocks
    num_heads: int  # attention heads of a block
    mlp_width: int  # inside the gated MLP

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        check_heads(self, "width", "num_heads")
        positive("model", self, "depth", "mlp_width")
        if (size := self.width // self.num_heads) % 4:
            raise ValueError(
                "model.width / model.num_heads must be a multiple of 4, of pairs that turn with "
                f"row and column; got {size}"
            )


@dataclass(kw_only=True)
class LlamaSamplerConfig(SamplerBase):
    """Ids are drawn from what temperature, top-k and top-p leave, in this order."""

    guidance_interval: int  # last step with guidance, the class's own not counted; -1 = all steps
    temperature: float  # divides the logits
    top_k: int  # 0 = all ids
    top_p: float  # 1 = all ids

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        positive("sampler", self, "temperature", "top_p")
        if self.guidance_interval < -1:
            raise ValueError(
                f"sampler.guidance_interval must be at least -1 (all steps), "
                f"got {self.guidance_interval}"
            )
        if self.top_k < 0 or self.top_p > 1:
            raise ValueError(
                "sampler.top_k must be at least 0 and sampler.top_p at most 1 (all ids), "
                f"got {self.top_k} and {self.top_p}"
            )
