"""What is studied and how it is seen: datasets, tokenizers, evaluation protocols."""

from dataclasses import dataclass

from nextbasis.config.checks import choose, fraction, positive

SOURCE_KINDS = ("local", "torchvision", "debian", "sklearn", "image_folder")


@dataclass(kw_only=True)
class SourceConfig:
    """One place a dataset can come from; sources are tried in the order given."""

    kind: str  # local, torchvision, debian, sklearn or image_folder
    location: str  # folder, package or dataset name, by kind

    def __post_init__(self) -> None:
        """Check the kind."""
        choose("dataset.sources.kind", self.kind, SOURCE_KINDS)


@dataclass(kw_only=True)
class DatasetConfig:
    """Which labelled images are studied."""

    name: str
    image_size: int  # pixels a side, after zero padding or cropping
    channels: int
    num_classes: int
    num_test: int  # images kept for testing where the source has no split of its own
    sources: list[SourceConfig]
    checksums: dict[str, str]  # file name or array name -> SHA-256; empty where the user's own

    def __post_init__(self) -> None:
        """Check sizes."""
        positive("dataset", self, "image_size", "channels", "num_classes")


TOKENIZER_KINDS = ("kl", "vq", "patches")


@dataclass(kw_only=True)
class TokenizerConfig:
    """How images become tokens."""

    kind: str  # kl (continuous, trained), vq (discrete, trained) or patches (pixels, not trained)
    downsample: int  # pixels per token along one side
    latent_channels: int  # numbers per token before quantisation
    codebook_size: int  # entries; 0 for continuous tokens
    width: int  # channels of the convolutions
    steps: int  # optimiser steps
    batch_size: int
    lr: float
    noise: float  # kl: standard deviation of the noise on standardised latents while training
    penalty: float  # kl: weight of the mean squared latent; vq: weight of the commitment loss
    codebook_decay: float  # vq: of the moving averages that the codebook follows

    def __post_init__(self) -> None:
        """Check kind and sizes."""
        choose("tokenizer.kind", self.kind, TOKENIZER_KINDS)
        positive("tokenizer", self, "downsample", "latent_channels")
        fraction("tokenizer", self, "codebook_decay")
        if self.kind != "patches":
            positive("tokenizer", self, "width", "steps", "batch_size", "lr")
        if self.kind == "vq" and self.codebook_size < 2:
            raise ValueError(
                f"tokenizer.codebook_size must be at least 2 for kind vq, got {self.codebook_size}"
            )


@dataclass(kw_only=True)
class EvaluationConfig:
    """The protocol of a score."""

    protocol: str  # name printed beside every number
    extractor: str  # fashion128 or inception-v3-compat
    weights: str  # file of the extractor's weights
    weights_sha256: str
    batch_size: int
    is_splits: int
    neighbours: int  # k of precision and recall
    num_reference: int  # reference images used by precision and recall
    seed: int  # of the shuffles

    def __post_init__(self) -> None:
        """Check choices."""
        choose("evaluation.extractor", self.extractor, ("fashion128", "inception-v3-compat"))
        positive("evaluation", self, "batch_size", "is_splits", "neighbours", "num_reference")
