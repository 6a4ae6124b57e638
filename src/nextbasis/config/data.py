"""What is studied and how it is judged: datasets and evaluation protocols."""

from dataclasses import dataclass

from nextbasis.config.checks import choose, positive

SOURCE_KINDS = (
    *("local", "torchvision", "debian", "sklearn"),
    *("image_folder", "webdataset", "parquet"),
)
EXTRACTORS = ("fashion128", "emoji128", "inception-v3-compat")
VIEWS = ("flip", "ten_crop")  # of a training image that are tokenised; see nextbasis.data.views


@dataclass(kw_only=True)
class SourceConfig:
    """One place a dataset can come from; sources are tried in the order given."""

    kind: str  # one of SOURCE_KINDS
    location: str  # folder, package, dataset name or two patterns of files, by kind

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


@dataclass(kw_only=True)
class EvaluationConfig:
    """The protocol of a score."""

    protocol: str  # name printed beside every number
    extractor: str  # one of EXTRACTORS
    weights: str  # file of the extractor's weights
    weights_sha256: str
    batch_size: int
    is_splits: int
    neighbours: int  # k of precision and recall
    num_reference: int  # reference images used by precision and recall
    seed: int  # of the shuffles

    def __post_init__(self) -> None:
        """Check choices."""
        choose("evaluation.extractor", self.extractor, EXTRACTORS)
        positive("evaluation", self, "batch_size", "is_splits", "neighbours", "num_reference")
