"""What is studied and how it is judged: datasets and evaluation protocols."""

from dataclasses import dataclass, field

from nextbasis.config.checks import check_file_name, choose, positive
from nextbasis.support.words import listed

LABELLED_KINDS = ("local", "torchvision", "debian", "sklearn", "image_folder")
CAPTIONED_KINDS = ("npm", "journeydb")
SOURCE_KINDS = (*LABELLED_KINDS, *CAPTIONED_KINDS, "webdataset", "parquet")  # these two: either
EXTRACTORS = ("fashion128", "emoji128", "inception-v3-compat")
MNIST_FILES = tuple(
    f"{split}-{what}-ubyte"
    for split in ("train", "t10k")
    for what in ("images-idx3", "labels-idx1")
)
CHECKSUMS = {  # what the checksums of a source are of, by kind; other kinds verify none
    **dict.fromkeys(("local", "torchvision", "debian"), MNIST_FILES),
    "sklearn": ("images", "labels"),
    "npm": ("images", "captions"),
}
VIEWS = ("single", "flip", "nine_crop", "ten_crop")  # of a training image; see nextbasis.data.views


@dataclass(kw_only=True)
class SourceConfig:
    """One place a dataset can come from; sources are tried in the order given."""

    # local, debian, torchvision, sklearn, image_folder; webdataset: tar files of KEY.png or KEY.jpg
    # with KEY.cls, or without classes KEY.txt; parquet: columns `image` and `label`, or without
    # classes `caption`; npm: a package of emoji, packed once into `data/`; journeydb: JourneyDB's
    # .jsonl with images in `imgs/` beside it, or MS-COCO's captions_SPLIT.json with images in
    # SPLIT/ beside or above it
    kind: str
    # A folder, the name of a dataset, or a package with its version. Of webdataset, parquet and
    # journeydb a pattern for the training images and one for the test images, separated by a
    # blank, with `*` or `{000..146}`; in the folder that NEXTBASIS_DATA names, its last folders
    # count as far as they are there, too.
    location: str

    def __post_init__(self) -> None:
        """Check the kind."""
        choose("dataset.sources.kind", self.kind, SOURCE_KINDS)


@dataclass(kw_only=True)
class DatasetConfig:
    """Which labelled images are studied."""

    name: str  # in tables and results; a file name
    image_size: int  # pixels a side, after zero padding or cropping
    channels: int  # 1: grey, 3: colour
    num_classes: int  # 0: as many as there are different captions, which the source must have
    # Images (npm: captions) kept for testing where the source has no such split; journeydb: the
    # first so many of the test images, 0: all.
    num_test: int
    # Places that are tried in this order, after the folder that NEXTBASIS_DATA names.
    sources: list[SourceConfig]
    # SHA-256 by name of a file or array (npm: `images` and `captions` of the whole package); empty
    # for images of your own.
    checksums: dict[str, str]
    # Names of the classes. Where there are none, captions.json of stage dataset has the source's
    # captions, the names of folders, or `class 0` and on.
    captions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check name and sizes, and that the sources have what `num_classes` counts."""
        check_file_name("dataset.name", self.name)
        positive("dataset", self, "image_size")
        if self.channels not in (1, 3):
            raise ValueError(f"dataset.channels must be 1 (grey) or 3 (RGB), got {self.channels}")
        if self.num_test < 0:
            raise ValueError(f"dataset.num_test must be 0 or more, got {self.num_test}")
        if not self.sources:
            raise ValueError("dataset.sources must list at least one source, got none")
        without = CAPTIONED_KINDS if self.num_classes else LABELLED_KINDS
        wrong = [source.kind for source in self.sources if source.kind in without]
        if self.num_classes < 0 or wrong:
            raise ValueError(
                "dataset.num_classes must be above 0, or 0 where captions take the place of "
                f"classes, as in {', '.join(CAPTIONED_KINDS)}; got {self.num_classes}"
                + (f" for a source of kind {wrong[0]}" if wrong else "")
            )
        for source in self.sources:
            names = CHECKSUMS.get(source.kind, ())
            if unread := [name for name in self.checksums if name not in names]:
                raise ValueError(
                    f"dataset.checksums: a source of kind {source.kind} verifies "
                    f"{listed(names) or 'none'}; got {listed(unread)}"
                )
        if self.captions and len(self.captions) != self.num_classes:
            raise ValueError(
                f"dataset.captions must name as many classes as dataset.num_classes says, "
                f"{self.num_classes}; got {len(self.captions)}"
            )


@dataclass(kw_only=True)
class EvaluationConfig:
    """The protocol of a score."""

    protocol: str  # name printed beside every number; protocols.md says what each demands
    extractor: str  # fashion128, emoji128 or inception-v3-compat
    weights: str  # file of the extractor's weights
    weights_sha256: str  # of that file
    batch_size: int  # images whose features are computed together
    is_splits: int  # parts of the images, over which IS has mean and deviation
    neighbours: int  # k of precision and recall
    num_reference: int  # reference images used by precision and recall
    seed: int  # of the shuffles

    def __post_init__(self) -> None:
        """Check choices."""
        choose("evaluation.extractor", self.extractor, EXTRACTORS)
        positive("evaluation", self, "batch_size", "is_splits", "neighbours", "num_reference")
