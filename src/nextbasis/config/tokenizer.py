"""How images become tokens: what all kinds are told; each has a schema of its own."""

from dataclasses import dataclass
from typing import Any

from nextbasis.config.checks import positive


@dataclass(kw_only=True)
class TokenizerBase:
    """What every tokenizer is told."""

    kind: str  # a folder of nextbasis.tokenizers
    encode_batch_size: int  # images encoded together when nothing is trained

    def __post_init__(self) -> None:
        """Check ranges."""
        positive("tokenizer", self, "encode_batch_size")


@dataclass(kw_only=True)
class MadeTokenizer(TokenizerBase):
    """A tokenizer of a grid that is made here."""

    downsample: int  # pixels per token along one side
    latent_channels: int  # numbers per token, before quantisation if there is one

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        positive("tokenizer", self, "downsample", "latent_channels")


@dataclass(kw_only=True)
class TrainedConfig(MadeTokenizer):
    """A small convolutional autoencoder that stage tokenizer trains."""

    width: int  # channels of the convolutions
    steps: int  # optimiser steps
    batch_size: int  # images of a step
    lr: float  # learning rate

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        positive("tokenizer", self, "width", "steps", "batch_size", "lr")


@dataclass(kw_only=True)
class PublishedTokenizer(TokenizerBase):
    """A published network whose weights are read from a file."""

    weights: str  # the published file, or what `nextbasis import` made of it
    weights_sha256: str  # of that file; empty: any, and the tokenizer's metrics.json records which
    network: Any  # sizes of the network

    @property
    def downsample(self) -> int:
        """Pixels per token along one side."""
        return self.network.downsample


TokenizerConfig = MadeTokenizer | PublishedTokenizer
