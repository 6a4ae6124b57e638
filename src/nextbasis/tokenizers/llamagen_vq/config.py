"""What LlamaGen's tokenizer is told."""

from dataclasses import dataclass

from nextbasis.config.checks import positive
from nextbasis.config.tokenizer import PublishedTokenizer
from nextbasis.tokenizers.common.config import NetworkSizes


@dataclass(kw_only=True)
class LlamaGenVQConfig(NetworkSizes):
    """VQ-16 or VQ-8: they differ in `multipliers`; a decoder level has one residual block more."""

    hidden_channels: int  # that the encoder makes and the decoder takes, beside 1x1 convolutions
    codebook_size: int

    def __post_init__(self) -> None:
        """Check the codebook."""
        super().__post_init__()
        positive("tokenizer.network", self, "hidden_channels", "codebook_size")


@dataclass(kw_only=True)
class LlamaGenVQTokenizerConfig(PublishedTokenizer):
    """Ids of LlamaGen's VQ-16 or VQ-8."""

    network: LlamaGenVQConfig


NETWORK, TOKENIZER = LlamaGenVQConfig, LlamaGenVQTokenizerConfig
