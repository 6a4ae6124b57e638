"""What MaskGIT-VQGAN is told."""

from dataclasses import dataclass

from nextbasis.config.checks import positive
from nextbasis.config.tokenizer import PublishedTokenizer
from nextbasis.tokenizers.common.config import NetworkSizes


@dataclass(kw_only=True)
class MaskGITVQGANConfig(NetworkSizes):
    """MaskGIT-VQGAN as RAR uses it; `num_blocks` also holds between encoder levels and codes."""

    codebook_size: int  # ids that a token can be
    commitment: float  # weight of the encoder's part of the quantisation loss

    def __post_init__(self) -> None:
        """Check the codebook."""
        super().__post_init__()
        positive("tokenizer.network", self, "codebook_size")
        if self.commitment < 0:
            raise ValueError(
                f"tokenizer.network.commitment must not be negative, got {self.commitment}"
            )


@dataclass(kw_only=True)
class MaskGITVQGANTokenizerConfig(PublishedTokenizer):
    """Ids of MaskGIT-VQGAN.

    The published file is maskgit-vqgan-imagenet-f16-256.bin of fun-research/TiTok.
    """

    network: MaskGITVQGANConfig


NETWORK, TOKENIZER = MaskGITVQGANConfig, MaskGITVQGANTokenizerConfig
