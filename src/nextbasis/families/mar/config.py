"""What MAR's model and sampler are told."""

from dataclasses import dataclass

from nextbasis.config.checks import check_heads, choose, fraction, positive
from nextbasis.config.model import ModelBase
from nextbasis.config.running import SamplerBase


@dataclass(kw_only=True)
class MARConfig(ModelBase):
    """MAR: masked encoder and decoder, per-token diffusion head (Li et al. 2024)."""

    encoder_width: int  # channels of a token in the encoder
    encoder_depth: int  # transformer blocks of the encoder
    encoder_heads: int  # attention heads of its blocks
    decoder_width: int  # channels of a token in the decoder
    decoder_depth: int  # transformer blocks of the decoder
    decoder_heads: int  # attention heads of its blocks
    mlp_ratio: float  # width inside an MLP, over that of its block
    buffer_size: int  # class tokens in front, officially 64; with captions text.num_tokens
    head_width: int  # channels of the diffusion MLP
    head_depth: int  # residual blocks of the diffusion MLP
    head_batch_mul: int  # noise levels drawn for a token in a step; officially 4
    mask_ratio_min: float  # of a normal around 1, truncated to [min, 1]; officially 0.7
    mask_ratio_std: float  # deviation of that normal; officially 0.25
    ordered: bool = False  # tokens are known from the first on, in the basis' order; MAR: at random
    text_depth: int = 0  # blocks over the tokens of captions, where there are any

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        check_heads(self, "encoder_width", "encoder_heads")
        check_heads(self, "decoder_width", "decoder_heads")
        positive("model", self, "encoder_depth", "decoder_depth", "buffer_size", "head_batch_mul")
        positive("model", self, "head_width", "head_depth")
        fraction("model", self, "mask_ratio_min")


@dataclass(kw_only=True)
class MARSamplerConfig(SamplerBase):
    """MAR: iterations of a cosine mask schedule, ancestral diffusion in each."""

    guidance_schedule: str  # linear (grows with the share of known tokens) or constant
    num_iter: int  # autoregressive iterations
    num_steps: int  # denoising steps per token
    temperature: float  # scales the noise added at each denoising step
    clip: float  # bound on predicted clean tokens, which have unit variance; 0 = none, as released

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        choose("sampler.guidance_schedule", self.guidance_schedule, ("linear", "constant"))
        positive("sampler", self, "num_iter", "temperature")
        if self.num_steps < 2:
            raise ValueError(f"sampler.num_steps must be at least 2, got {self.num_steps}")
        if self.clip < 0:
            raise ValueError(f"sampler.clip must not be negative, got {self.clip}")


MODEL, SAMPLER = MARConfig, MARSamplerConfig
