"""What LlamaGen's tokenizer is told."""

from dataclasses import dataclass

from nextbasis.config.checks import positive
from nextbasis.config.tokenizer import PublishedTokenizer
from nextbasis.tokenizers.common.config import NetworkSizes


@dataclass(kw_only=True)
class LlamaGenVQConfig(NetworkSizes):
    """VQ-16 or VQ-8: they differ in `multipliers`; a decoder level has one residual block more."""

    hidden_channels: int  # between the networks and the 1x1 convolutions beside the codebook
    codebook_size: int  # ids that a token can be

    def __post_init__(self) -> None:
        """Check the codebook."""
        super().__post_init__()
        positive("tokenizer.network", self, "hidden_channels", "codebook_size")


@dataclass(kw_only=True)
class LlamaGenVQTokenizerConfig(PublishedTokenizer):
    """Ids of LlamaGen's VQ-16 or VQ-8.

    The published files are vq_ds16_c2i.pt and vq_ds8_c2i.pt of FoundationVision/LlamaGen and
    vq_ds16_t2i.pt of peizesun/llamagen_t2i.
    """

    network: LlamaGenVQConfig


NETWORK, TOKENIZER = LlamaGenVQConfig, LlamaGenVQTokenizerConfig
