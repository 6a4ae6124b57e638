"""How images become tokens: the kinds made here, and what all published tokenizers are told."""

from dataclasses import dataclass
from typing import Any

from nextbasis.config.checks import fraction, positive


@dataclass(kw_only=True)
class TokenizerBase:
    """What every tokenizer is told."""

    kind: str
    encode_batch_size: int  # images encoded together when nothing is trained

    def __post_init__(self) -> None:
        """Check ranges."""
        positive("tokenizer", self, "encode_batch_size")


@dataclass(kw_only=True)
class PatchesConfig(TokenizerBase):
    """Pixels, standardised; nothing is trained."""

    downsample: int  # pixels per token along one side
    latent_channels: int  # numbers per token

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        positive("tokenizer", self, "downsample", "latent_channels")


@dataclass(kw_only=True)
class TrainedTokenizer(TokenizerBase):
    """A small convolutional autoencoder that stage tokenizer trains."""

    downsample: int  # pixels per token along one side
    latent_channels: int  # numbers per token before quantisation
    width: int  # channels of the convolutions
    steps: int  # optimiser steps
    batch_size: int  # images of a step
    lr: float

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        positive("tokenizer", self, "downsample", "latent_channels", "width")
        positive("tokenizer", self, "steps", "batch_size", "lr")


@dataclass(kw_only=True)
class KLConfig(TrainedTokenizer):
    """Continuous tokens."""

    noise: float  # standard deviation of the noise on standardised latents while training
    penalty: float  # weight of the mean squared latent


@dataclass(kw_only=True)
class VQConfig(TrainedTokenizer):
    """Ids of a codebook."""

    codebook_size: int
    commitment: float  # weight of the encoder's part of the loss
    codebook_decay: float  # of the moving averages that the codebook follows

    def __post_init__(self) -> None:
        """Check the codebook."""
        super().__post_init__()
        fraction("tokenizer", self, "codebook_decay")
        if self.codebook_size < 2:
            raise ValueError(
                f"tokenizer.codebook_size must be at least 2, got {self.codebook_size}"
            )


@dataclass(kw_only=True)
class PublishedTokenizer(TokenizerBase):
    """A published network whose weights are read from a file; each has a schema of its own."""

    weights: str  # the official checkpoint, or what `nextbasis import` made of it
    weights_sha256: str  # of that file; empty: whatever it is, metrics.json records it
    network: Any  # its sizes

    @property
    def downsample(self) -> int:
        """Pixels per token along one side."""
        return self.network.downsample


TokenizerConfig = PatchesConfig | KLConfig | VQConfig | PublishedTokenizer
