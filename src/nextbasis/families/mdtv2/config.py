"""What MDTv2's model and sampler are told."""

from dataclasses import dataclass

from nextbasis.config.checks import fraction, positive
from nextbasis.families.common.dit_config import LatentSamplerConfig, LatentTransformerConfig


@dataclass(kw_only=True)
class MDTv2Config(LatentTransformerConfig):
    """MDTv2: encoder with long shortcuts, decoder, a second pass over masked patches."""

    decoder_depth: int  # of depth, the last blocks; the others are the encoder's, in two halves
    mask_ratio: float  # share of the patches that the second pass hides, at least
    mask_spread: float  # the share is drawn uniformly from mask_ratio to mask_ratio + mask_spread
    snr_bound: float  # of the weights min(snr, bound) / snr of the loss (Hang et al. 2023)

    def __post_init__(self) -> None:
        """Check sizes and ranges."""
        super().__post_init__()
        positive("model", self, "decoder_depth", "snr_bound")
        left = self.depth - self.decoder_depth
        if left < 2 or left % 2:
            raise ValueError(
                "model.depth - model.decoder_depth must be even and above 0, for both halves of "
                f"the encoder, got {self.depth} - {self.decoder_depth}"
            )
        fraction("model", self, "mask_ratio", "mask_spread")
        if self.mask_ratio + self.mask_spread >= 1:
            raise ValueError(
                "model.mask_ratio + model.mask_spread must be below 1, so that patches are left, "
                f"got {self.mask_ratio} + {self.mask_spread}"
            )


@dataclass(kw_only=True)
class MDTv2SamplerConfig(LatentSamplerConfig):
    """MDTv2: ancestral sampling, with guidance that grows as a cosine of a power of time."""

    num_steps: int  # denoising steps
    guidance_power: float  # of the time whose cosine guidance follows; near 0 it is constant

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        positive("sampler", self, "guidance_power")
        if self.num_steps < 2:
            raise ValueError(f"sampler.num_steps must be at least 2, got {self.num_steps}")


MODEL, SAMPLER = MDTv2Config, MDTv2SamplerConfig
