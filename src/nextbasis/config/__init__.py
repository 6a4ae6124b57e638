"""What a stage may be told: dataclasses, one per part, composed from config/ by Hydra and checked.

Values live in YAML only; no field here has a default but the names of classes. A stage receives
exactly the sections that its schema names, which are those dvc.yaml tracks for it, so it cannot
read a hyperparameter that DVC does not know. The comment of a field is its meaning in
docs/reference/configuration.md, which `python -m nextbasis.manual` writes.
"""

from nextbasis.config.composition import (
    CONFIG_FOLDER,
    as_dict,
    choices,
    compose,
    keys_below,
    section,
)
from nextbasis.config.data import DatasetConfig, EvaluationConfig, SourceConfig
from nextbasis.config.model import BasisConfig, ModelBase, OrderConfig
from nextbasis.config.running import SamplerBase, TrainConfig
from nextbasis.config.stages import (
    SCHEMAS,
    SECTIONS,
    DatasetStage,
    DiagnoseStage,
    ExtractorStage,
    HeldoutStage,
    RebaseStage,
    ReconstructStage,
    ReferenceStage,
    SampleStage,
    ScoreStage,
    StageConfig,
    TextStage,
    TokenizerStage,
    TokensStage,
    TrainStage,
)
from nextbasis.config.text import (
    CaptionConfig,
    ClassesConfig,
    FrozenConfig,
    TextConfig,
    WordsConfig,
)
from nextbasis.config.tokenizer import (
    PublishedTokenizer,
    TokenizerConfig,
    TrainedConfig,
)

__all__ = [
    "BasisConfig",
    "CONFIG_FOLDER",
    "CaptionConfig",
    "ClassesConfig",
    "DatasetConfig",
    "DatasetStage",
    "DiagnoseStage",
    "EvaluationConfig",
    "ExtractorStage",
    "HeldoutStage",
    "FrozenConfig",
    "ModelBase",
    "OrderConfig",
    "PublishedTokenizer",
    "RebaseStage",
    "ReconstructStage",
    "ReferenceStage",
    "SCHEMAS",
    "SECTIONS",
    "SampleStage",
    "SamplerBase",
    "ScoreStage",
    "SourceConfig",
    "StageConfig",
    "TextConfig",
    "TextStage",
    "TokenizerConfig",
    "TokenizerStage",
    "TokensStage",
    "TrainConfig",
    "TrainStage",
    "TrainedConfig",
    "WordsConfig",
    "as_dict",
    "choices",
    "compose",
    "keys_below",
    "section",
]
