"""What a stage may be told: dataclasses, one per part, composed from config/ by Hydra and checked.

Values live in YAML only; a field here has no default. A stage receives exactly the sections that
its schema names, which are those dvc.yaml tracks for it, so it cannot read a hyperparameter that
DVC does not know (config/README.md lists every key with its unit and source).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

CONFIG_FOLDER = Path("config")


def _choose(key: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{key} must be one of {', '.join(choices)}; got '{value}'")


def _positive(section: str, part: object, *names: str) -> None:
    for name in names:
        if getattr(part, name) <= 0:
            raise ValueError(f"{section}.{name} must be above 0, got {getattr(part, name)}")


def _fraction(section: str, part: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(part, name) <= 1:
            raise ValueError(f"{section}.{name} must lie in [0, 1], got {getattr(part, name)}")


@dataclass(kw_only=True)
class SourceConfig:
    """One place a dataset can come from; sources are tried in the order given."""

    kind: str  # local, torchvision, debian, sklearn or image_folder
    location: str  # folder, package or dataset name, by kind

    def __post_init__(self) -> None:
        """Check the kind."""
        _choose("dataset.sources.kind", self.kind, SOURCE_KINDS)


SOURCE_KINDS = ("local", "torchvision", "debian", "sklearn", "image_folder")


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
        _positive("dataset", self, "image_size", "channels", "num_classes")


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
        _choose("tokenizer.kind", self.kind, TOKENIZER_KINDS)
        _positive("tokenizer", self, "downsample", "latent_channels")
        _fraction("tokenizer", self, "codebook_decay")
        if self.kind != "patches":
            _positive("tokenizer", self, "width", "steps", "batch_size", "lr")
        if self.kind == "vq" and self.codebook_size < 2:
            raise ValueError(
                f"tokenizer.codebook_size must be at least 2 for kind vq, got {self.codebook_size}"
            )


TOKENIZER_KINDS = ("kl", "vq", "patches")


@dataclass(kw_only=True)
class MARConfig:
    """MAR: masked encoder and decoder, per-token diffusion head (Li et al. 2024)."""

    family: str
    encoder_width: int
    encoder_depth: int
    encoder_heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    mlp_ratio: float
    buffer_size: int  # class tokens in front of the image tokens
    dropout: float  # after attention projection and inside the MLP, and on attention weights
    label_drop: float  # probability of the null class, for guidance
    head_width: int
    head_depth: int  # residual blocks
    head_batch_mul: int  # noise levels drawn per token and step
    mask_ratio_min: float  # truncated normal on [min, 1] around 1
    mask_ratio_std: float

    def __post_init__(self) -> None:
        """Check sizes."""
        _check_heads(self, "encoder_width", "encoder_heads")
        _check_heads(self, "decoder_width", "decoder_heads")
        _check_dropout(self)
        _positive("model", self, "encoder_depth", "decoder_depth", "buffer_size", "head_batch_mul")
        _positive("model", self, "head_width", "head_depth")
        _fraction("model", self, "mask_ratio_min")


@dataclass(kw_only=True)
class XARConfig:
    """xAR: cells, flow matching, noisy context (Ren et al. 2025)."""

    family: str
    width: int
    encoder_depth: int  # blocks before the middle projection
    decoder_depth: int  # blocks after it
    num_heads: int
    cells_per_side: int  # the grid is cut into this many cells along each side
    dropout: float
    label_drop: float

    def __post_init__(self) -> None:
        """Check sizes."""
        _check_heads(self, "width", "num_heads")
        _check_dropout(self)
        _positive("model", self, "encoder_depth", "decoder_depth", "cells_per_side")
        if self.width // self.num_heads % 4:
            raise ValueError(
                f"model.width / model.num_heads must be a multiple of 4 for two-dimensional RoPE, "
                f"got {self.width} / {self.num_heads}"
            )


@dataclass(kw_only=True)
class RARConfig:
    """RAR: causal transformer over permuted ids, target-aware positions (Yu et al. 2024)."""

    family: str
    width: int
    depth: int
    num_heads: int
    mlp_width: int
    dropout: float
    label_drop: float

    def __post_init__(self) -> None:
        """Check sizes."""
        _check_heads(self, "width", "num_heads")
        _check_dropout(self)
        _positive("model", self, "depth", "mlp_width")


def _check_heads(model: Any, width: str, heads: str) -> None:
    _positive("model", model, width, heads)
    if getattr(model, width) % getattr(model, heads):
        raise ValueError(
            f"model.{heads} must divide model.{width}, "
            f"got {getattr(model, heads)} and {getattr(model, width)}"
        )


def _check_dropout(model: Any) -> None:
    if not 0 <= model.dropout < 1:
        raise ValueError(f"model.dropout must lie in [0, 1), got {model.dropout}")
    _fraction("model", model, "label_drop")


@dataclass(kw_only=True)
class BasisConfig:
    """How tokens are re-expressed before the backbone sees them: y = A x."""

    init: str  # A at the start: identity, scaled, random or klt
    scale: float  # factor of init=scaled; 1 elsewhere
    learned: bool
    objective: str  # l_bar or residual
    residual_weight: float  # share of the residual objective; open in the paper
    regulariser: float  # weight of |A^T A - I|_F^2; open in the paper
    projection: str  # none, hard or soft
    delta: float  # soft: singular values stay in [1 - delta, 1 + delta]
    lr: float  # learning rate of A; open in the paper

    def __post_init__(self) -> None:
        """Check choices and ranges."""
        _choose("basis.init", self.init, ("identity", "scaled", "random", "klt"))
        _choose("basis.objective", self.objective, ("l_bar", "residual"))
        _choose("basis.projection", self.projection, ("none", "hard", "soft"))
        if not 0 <= self.delta < 1:
            raise ValueError(f"basis.delta must lie in [0, 1), got {self.delta}")
        _positive("basis", self, "scale")
        _fraction("basis", self, "residual_weight")
        if self.regulariser < 0:
            raise ValueError(f"basis.regulariser must not be negative, got {self.regulariser}")
        if not self.learned and self.objective != "l_bar":
            raise ValueError("basis.objective=residual needs basis.learned=true: it trains A")


@dataclass(kw_only=True)
class OrderConfig:
    """In which order RAR's training visits the tokens."""

    scan: str  # the order annealed to; see nextbasis.orders.SCANS
    anneal_start: float  # fraction of training before which every order is random
    anneal_end: float  # fraction after which every order is the scan

    def __post_init__(self) -> None:
        """Check ranges."""
        _fraction("order", self, "anneal_start", "anneal_end")
        if self.anneal_start > self.anneal_end:
            raise ValueError(
                f"order.anneal_start must not exceed order.anneal_end, "
                f"got {self.anneal_start} and {self.anneal_end}"
            )


@dataclass(kw_only=True)
class TrainConfig:
    """Budget and optimiser of one training."""

    steps: int
    batch_size: int  # images, over all processes
    lr: float
    warmup: float  # fraction of the steps with linearly rising rate
    decay_start: float  # fraction of the steps after which the rate falls as a half cosine
    min_lr: float
    weight_decay: float
    beta1: float
    beta2: float
    clip: float  # largest norm of the gradient
    ema_decay: float
    log_every: int  # steps between rows of metrics.csv
    checkpoint_every: int  # steps between resumable states

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive("train", self, "steps", "batch_size", "lr", "clip", "log_every")
        _positive("train", self, "checkpoint_every")
        _fraction("train", self, "warmup", "decay_start", "ema_decay", "beta1", "beta2")


@dataclass(kw_only=True)
class SamplerBase:
    """What every sampler is told."""

    family: str
    num_images: int  # the same number of every class
    batch_size: int  # images sampled together; the batch of the measured throughput
    latency_images: int  # images sampled one by one to measure seconds per image
    guidance: float  # classifier-free guidance at full strength; 1 = off

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive("sampler", self, "num_images", "batch_size", "latency_images")
        if self.guidance < 1:
            raise ValueError(f"sampler.guidance must be at least 1 (off), got {self.guidance}")


@dataclass(kw_only=True)
class MARSamplerConfig(SamplerBase):
    """MAR: iterations of a cosine mask schedule, ancestral diffusion in each."""

    guidance_schedule: str  # linear (grows with the share of known tokens) or constant
    num_iter: int  # autoregressive iterations
    num_steps: int  # denoising steps per token
    temperature: float  # scales the noise added at each denoising step
    clip: float  # bound on predicted clean tokens, which have unit variance; 0 = none, as released

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        _choose("sampler.guidance_schedule", self.guidance_schedule, ("linear", "constant"))
        _positive("sampler", self, "num_iter", "temperature")
        if self.num_steps < 2:
            raise ValueError(f"sampler.num_steps must be at least 2, got {self.num_steps}")
        if self.clip < 0:
            raise ValueError(f"sampler.clip must not be negative, got {self.clip}")


@dataclass(kw_only=True)
class XARSamplerConfig(SamplerBase):
    """xAR: cell after cell, an ODE or SDE in each; guidance grows linearly over cells."""

    solver: str  # euler or euler_maruyama
    num_steps: int  # network calls per cell

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        _choose("sampler.solver", self.solver, ("euler", "euler_maruyama"))
        if self.num_steps < 3:
            raise ValueError(f"sampler.num_steps must be at least 3, got {self.num_steps}")


@dataclass(kw_only=True)
class RARSamplerConfig(SamplerBase):
    """RAR: one id after another; guidance grows as a power-cosine."""

    guidance_power: float  # 0 = constant guidance
    temperature: float

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        _positive("sampler", self, "temperature")


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
        _choose("evaluation.extractor", self.extractor, ("fashion128", "inception-v3-compat"))
        _positive("evaluation", self, "batch_size", "is_splits", "neighbours", "num_reference")


@dataclass(kw_only=True)
class StageConfig:
    """What every stage is told: where its results live."""

    scale: str
    key: str  # name of the run, tokenizer or evaluation; empty where a scale has one


@dataclass(kw_only=True)
class DatasetStage(StageConfig):
    """Config of nextbasis.stages.dataset."""

    dataset: DatasetConfig


@dataclass(kw_only=True)
class ExtractorStage(StageConfig):
    """Config of nextbasis.stages.extractor."""

    seed: int
    evaluation: EvaluationConfig


@dataclass(kw_only=True)
class ReferenceStage(StageConfig):
    """Config of nextbasis.stages.reference."""

    evaluation: EvaluationConfig


@dataclass(kw_only=True)
class TokenizerStage(StageConfig):
    """Config of nextbasis.stages.tokenizer."""

    seed: int
    tokenizer: TokenizerConfig


@dataclass(kw_only=True)
class RebaseStage(StageConfig):
    """Config of nextbasis.stages.rebase: a VQ tokenizer whose latents are re-expressed first."""

    seed: int
    parent: str  # name of the VQ tokenizer
    basis: BasisConfig


@dataclass(kw_only=True)
class ReconstructStage(StageConfig):
    """Config of nextbasis.stages.reconstruct; `key` names the tokenizer."""

    evaluation: EvaluationConfig


@dataclass(kw_only=True)
class TokensStage(StageConfig):
    """Config of nextbasis.stages.tokens; `key` names the tokenizer."""


@dataclass(kw_only=True)
class TrainStage(StageConfig):
    """Config of nextbasis.stages.train; `key` names the run."""

    seed: int
    tokens: str  # name of the tokenizer whose tokens are modelled
    model: MARConfig | XARConfig | RARConfig
    basis: BasisConfig
    order: OrderConfig
    train: TrainConfig

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        if self.model.family == "rar" and (self.basis.learned or self.basis.init != "identity"):
            raise ValueError(
                "basis: ids cannot be mixed, so RAR needs basis=identity; a basis for discrete "
                "tokens is a tokenizer made by the rebase stage"
            )


@dataclass(kw_only=True)
class SampleStage(StageConfig):
    """Config of nextbasis.stages.sample; `key` names the evaluation."""

    seed: int
    run: str  # name of the training that made the model
    sampler: MARSamplerConfig | XARSamplerConfig | RARSamplerConfig


@dataclass(kw_only=True)
class ScoreStage(StageConfig):
    """Config of nextbasis.stages.score; `key` names the evaluation."""

    evaluation: EvaluationConfig


SCHEMAS: dict[str, type[StageConfig]] = {
    "dataset": DatasetStage,
    "extractor": ExtractorStage,
    "reference": ReferenceStage,
    "tokenizer": TokenizerStage,
    "rebase": RebaseStage,
    "reconstruct": ReconstructStage,
    "tokens": TokensStage,
    "train": TrainStage,
    "sample": SampleStage,
    "score": ScoreStage,
}
SECTIONS: dict[str, type | dict[str, type]] = {
    "dataset": DatasetConfig,
    "tokenizer": TokenizerConfig,
    "model": {"mar": MARConfig, "xar": XARConfig, "rar": RARConfig},
    "basis": BasisConfig,
    "order": OrderConfig,
    "train": TrainConfig,
    "sampler": {"mar": MARSamplerConfig, "xar": XARSamplerConfig, "rar": RARSamplerConfig},
    "evaluation": EvaluationConfig,
}


def compose(stage: str, overrides: Sequence[str], folder: Path = CONFIG_FOLDER) -> Any:
    """Compose and check the config of one stage from Hydra overrides such as `model=small/xar_b`.

    Raises: ValueError naming the key, the value and what would be right.
    """
    try:
        with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            raw = hydra_compose("config", list(overrides))
    except HydraException as error:
        raise ValueError(f"stage {stage}: {error}") from error
    schema = SCHEMAS[stage]
    wanted = {field.name: field.type for field in fields(schema)}
    given = {str(name) for name in raw if str(name) in SECTIONS}
    if superfluous := sorted(given - wanted.keys()):
        raise ValueError(
            f"stage {stage} does not read {', '.join(superfluous)}; it reads {', '.join(wanted)}"
        )
    values = {}
    for name in wanted:
        if OmegaConf.is_missing(raw, name) or name not in raw:
            choice = f"{name}=<file in {folder / name}>" if name in SECTIONS else f"{name}=<value>"
            raise ValueError(f"stage {stage} needs {choice}")
        values[name] = section(name, raw[name]) if name in SECTIONS else raw[name]
    return schema(**values)


def section(name: str, raw: DictConfig | dict[str, Any]) -> Any:
    """Turn one section's raw values into its dataclass.

    Raises: ValueError naming the key for unknown or missing keys, wrong types and bad values.
    """
    schema = SECTIONS[name]
    if isinstance(schema, dict):
        family = str(raw.get("family", ""))
        _choose(f"{name}.family", family, tuple(schema))
        schema = schema[family]
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), raw)
        missing = sorted(str(key) for key in OmegaConf.missing_keys(merged))
        if missing:
            raise ValueError(f"{name}: no value for {', '.join(missing)}")
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        keys = ", ".join(field.name for field in fields(schema))
        key = f"{name}.{error.full_key}" if error.full_key else name
        message = str(error).splitlines()[0]
        raise ValueError(f"{key}: {message}; the keys of {name} are {keys}") from error


def as_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as nested plain dicts, for files and hashes."""
    assert is_dataclass(config) and not isinstance(config, type)
    return asdict(config)


def config_hash(config: Any) -> str:
    """SHA-256 of a config's values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(as_dict(config), sort_keys=True).encode()).hexdigest()
