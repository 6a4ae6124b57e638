"""What VAR's multi-scale VQ-VAE is told."""

from dataclasses import dataclass

from nextbasis.config.tokenizer import PublishedTokenizer
from nextbasis.tokenizers.common.config import NetworkSizes
from nextbasis.tokenizers.common.levels import check_levels


@dataclass(kw_only=True)
class VARVQVAEConfig(NetworkSizes):
    """The autoencoder, with attention at its last level only, and the quantiser in its middle."""

    codebook_size: int  # ids that a token can be
    levels: list[int]  # sides of the grids of ids, coarse to fine; no weight depends on them
    num_phis: int  # convolutions after upsampling that the levels share; 0: one a level
    blend: float  # their share in what a level adds, officially 0.5; the rest is kept as it is
    commitment: float  # weight of the encoder's part of the quantisation loss

    def __post_init__(self) -> None:
        """Check the quantiser."""
        super().__post_init__()
        check_levels("tokenizer.network", self)
        if self.commitment < 0:
            raise ValueError(
                f"tokenizer.network.commitment must not be negative, got {self.commitment}"
            )


@dataclass(kw_only=True)
class VARVQVAETokenizerConfig(PublishedTokenizer):
    """Ids of VAR's multi-scale VQ-VAE.

    The published file is vae_ch160v4096z32.pth of FoundationVision/var.
    """

    network: VARVQVAEConfig


NETWORK, TOKENIZER = VARVQVAEConfig, VARVQVAETokenizerConfig
