"""What KL-16 is told."""

from dataclasses import dataclass

from nextbasis.config.checks import positive
from nextbasis.config.tokenizer import PublishedTokenizer
from nextbasis.tokenizers.common.config import NetworkSizes


@dataclass(kw_only=True)
class KL16Config(NetworkSizes):
    """KL-16 as MAR and xAR use it; a decoder level has one residual block more."""

    encoder_attention: list[int]  # levels of the encoder with attention after every residual block
    decoder_attention: list[int]  # levels of the decoder with it
    scale: float  # latents are samples of the posterior times this; officially 0.2325

    def __post_init__(self) -> None:
        """Check levels and scale."""
        super().__post_init__()
        positive("tokenizer.network", self, "scale")
        for key in ("encoder_attention", "decoder_attention"):
            levels, count = getattr(self, key), len(self.multipliers)
            if not all(0 <= level < count for level in levels):
                raise ValueError(
                    f"tokenizer.network.{key} must name levels in [0, {count}), got {levels}"
                )


@dataclass(kw_only=True)
class KL16TokenizerConfig(PublishedTokenizer):
    """Continuous tokens of KL-16; the published file is kl16.ckpt, which MAR's code downloads."""

    network: KL16Config


NETWORK, TOKENIZER = KL16Config, KL16TokenizerConfig
