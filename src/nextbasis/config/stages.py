"""What each stage is told: the sections it reads and the names of its inputs."""

from dataclasses import dataclass
from typing import Any

from nextbasis.config.checks import choose
from nextbasis.config.data import VIEWS, DatasetConfig, EvaluationConfig
from nextbasis.config.model import BasisConfig, ModelBase, OrderConfig
from nextbasis.config.running import SamplerBase, TrainConfig
from nextbasis.config.text import ClassesConfig, FrozenConfig, TextConfig, WordsConfig
from nextbasis.config.tokenizer import TokenizerConfig
from nextbasis.families import find
from nextbasis.tokenizers import kinds


@dataclass(kw_only=True)
class StageConfig:
    """What every stage is told: where its results live, and whether a GPU may be fast."""

    scale: str  # a folder of config/scales
    key: str  # name of the run, tokenizer or evaluation; empty where a scale has one
    # true: the same bits on the same GPU again, and an error where a GPU cannot; false: its fastest
    # algorithms, which the result records. A CPU gives the same bits either way, and no stage
    # computes in TF32.
    reproducible: bool


@dataclass(kw_only=True)
class DatasetStage(StageConfig):
    """Config of nextbasis.stages.dataset."""

    dataset: DatasetConfig


@dataclass(kw_only=True)
class TextStage(StageConfig):
    """Config of nextbasis.stages.text; `key` names the text."""

    text: TextConfig


@dataclass(kw_only=True)
class ExtractorStage(StageConfig):
    """Config of nextbasis.stages.extractor."""

    seed: int  # of all random numbers
    evaluation: EvaluationConfig


@dataclass(kw_only=True)
class ReferenceStage(StageConfig):
    """Config of nextbasis.stages.reference."""

    evaluation: EvaluationConfig


@dataclass(kw_only=True)
class TokenizerStage(StageConfig):
    """Config of nextbasis.stages.tokenizer."""

    seed: int  # of all random numbers
    tokenizer: TokenizerConfig


@dataclass(kw_only=True)
class RebaseStage(StageConfig):
    """Config of nextbasis.stages.rebase: a VQ tokenizer whose latents are re-expressed first."""

    seed: int  # of all random numbers
    parent: str  # name of the VQ tokenizer
    basis: BasisConfig


@dataclass(kw_only=True)
class ReconstructStage(StageConfig):
    """Config of nextbasis.stages.reconstruct; `key` names the tokenizer."""

    evaluation: EvaluationConfig


@dataclass(kw_only=True)
class TokensStage(StageConfig):
    """Config of nextbasis.stages.tokens; `key` names the tokenizer."""

    dataset: DatasetConfig
    # Crops of each training image, of which a training step draws one uniformly; an epoch counts
    # images of the source. single: the image alone; flip: the centre crop and its mirror image
    # (MAR, xAR, RAR's ablations); nine_crop: three by three crops of the image shrunk to 1.125
    # times the size (VAR); ten_crop: corners and centre of the image shrunk to 1.1 times the size,
    # from the dataset's source, and the same of the mirrored image (RAR's final models).
    views: str
    shard_images: int  # images whose tokens are in one file

    def __post_init__(self) -> None:
        """Check the choice and the size."""
        choose("views", self.views, VIEWS)
        if self.shard_images < 1:
            raise ValueError(f"shard_images must be above 0, got {self.shard_images}")


@dataclass(kw_only=True)
class TrainStage(StageConfig):
    """Config of nextbasis.stages.train; `key` names the run."""

    seed: int  # of all random numbers
    tokens: str  # name of the tokenizer whose tokens are modelled
    captions: str  # name of the text that says how labels read
    model: ModelBase
    basis: BasisConfig
    order: OrderConfig
    train: TrainConfig

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        family = find(self.model.family)
        if not family.has_basis and (self.basis.learned or self.basis.init != "identity"):
            raise ValueError(
                f"basis: {family.tokens} cannot be mixed, so {family.title} needs basis=identity; "
                "a basis for discrete tokens is a tokenizer made by the rebase stage"
            )


@dataclass(kw_only=True)
class SampleStage(StageConfig):
    """Config of nextbasis.stages.sample; `key` names the evaluation."""

    seed: int  # of all random numbers
    run: str  # name of the training that made the model
    sampler: SamplerBase


@dataclass(kw_only=True)
class ScoreStage(SampleStage):
    """Config of nextbasis.stages.score; it repeats how the samples were made, to record it."""

    evaluation: EvaluationConfig


@dataclass(kw_only=True)
class DiagnoseStage(StageConfig):
    """Config of nextbasis.stages.diagnose; `key` names the diagnosis."""

    run: str  # name of the training whose basis is looked at
    num_images: int  # training images of the statistics, evenly spaced, at least; all if fewer


@dataclass(kw_only=True)
class HeldoutStage(StageConfig):
    """Config of nextbasis.stages.heldout; `key` names the run again."""

    run: str  # name of the training whose loss is measured
    num_images: int  # test images, evenly spaced, at least; all if fewer

    def __post_init__(self) -> None:
        """Check the number."""
        if self.num_images < 1:
            raise ValueError(f"num_images must be above 0, got {self.num_images}")


SCHEMAS: dict[str, type[StageConfig]] = {
    "dataset": DatasetStage,
    "text": TextStage,
    "extractor": ExtractorStage,
    "reference": ReferenceStage,
    "tokenizer": TokenizerStage,
    "rebase": RebaseStage,
    "reconstruct": ReconstructStage,
    "tokens": TokensStage,
    "train": TrainStage,
    "sample": SampleStage,
    "score": ScoreStage,
    "diagnose": DiagnoseStage,
    "heldout": HeldoutStage,
}

# What a section's values must look like; where a key of it chooses among several, SELECTORS has it
# and the entry here is what finds the schema by its value.
SECTIONS: dict[str, Any] = {
    "dataset": DatasetConfig,
    "text": {"classes": ClassesConfig, "words": WordsConfig, "frozen": FrozenConfig},
    "tokenizer": lambda kind: kinds.find(kind).part("config").TOKENIZER,
    "model": lambda family: find(family, "model.family").part("config").MODEL,
    "basis": BasisConfig,
    "order": OrderConfig,
    "train": TrainConfig,
    "sampler": lambda family: find(family, "sampler.family").part("config").SAMPLER,
    "evaluation": EvaluationConfig,
}
SELECTORS = {"model": "family", "sampler": "family", "text": "kind", "tokenizer": "kind"}
