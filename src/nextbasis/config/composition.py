"""Compose the config of one stage from config/ with Hydra and check it."""

from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass, make_dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from nextbasis.config.checks import check_seed, choose
from nextbasis.config.overrides import check_name, check_overrides
from nextbasis.config.stages import SCHEMAS, SECTIONS, SELECTORS
from nextbasis.families import find, names
from nextbasis.support.words import listed, nearest
from nextbasis.support.yamls import read_keys

CONFIG_FOLDER = Path("config")
SCALES = "scales"  # below it: a folder a scale
UNFIT = (HydraException, OmegaConfBaseException, ValueError)  # what words raise that do not fit
SHAPE = "the value is of another shape; a list stands in [ ], keys with their values in { }"


def compose(stage: str, overrides: Sequence[str], folder: Path = CONFIG_FOLDER) -> Any:
    """Compose and check the config of one stage from Hydra overrides such as `model=small/xar_b`.

    Raises: ValueError naming the key, the value and what would be right.
    """
    read_keys(folder / "config.yaml")
    schema = SCHEMAS[stage]
    wanted = {field.name: field.type for field in fields(schema)}
    checked = check_overrides(stage, overrides, wanted, lambda: keys_below(overrides, folder))
    words = [_chosen(word, folder) for word in checked]
    try:
        raw = _raw(words, folder)
    except UNFIT as error:
        if (word := _blamed(words, folder)) is None:
            told = f"{folder / 'config.yaml'} cannot be composed"
            raise ValueError(f"stage {stage}: {told}") from error
        key, _, value = word.lstrip("+").partition("=")
        raise ValueError(f"{key}: {SHAPE}; got {value}") from error
    values = {}
    for name, kind in wanted.items():
        if OmegaConf.is_missing(raw, name) or name not in raw:
            choice = f"one of {listed(choices(name, folder))}" if name in SECTIONS else "<value>"
            raise ValueError(f"stage {stage} needs {name}={choice}")
        values[name] = (
            section(name, raw[name]) if name in SECTIONS else _plain(name, kind, raw[name])
        )
    return schema(**values)


def _raw(words: Sequence[str], folder: Path) -> DictConfig:
    with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
        return hydra_compose("config", [f"hydra.searchpath=[{_recipes()}]", *words])


def _blamed(words: Sequence[str], folder: Path) -> str | None:
    """The value of a section without which all else can be composed; none if there is no such."""
    for word in words:
        if "." not in word.partition("=")[0]:
            continue
        try:
            _raw([other for other in words if other is not word], folder)
        except UNFIT:
            continue
        return word
    return None


def _plain(name: str, kind: Any, raw: Any) -> Any:
    """A value of a stage that is in no section, of the type that its field has."""
    schema = OmegaConf.structured(make_dataclass("Stage", [(name, kind)]))
    try:
        value = getattr(OmegaConf.merge(schema, {name: raw}), name)
    except OmegaConfBaseException as error:
        raise ValueError(f"{name}: {str(error).splitlines()[0]}") from error
    if kind is str:
        check_name(name, value)
    if name == "seed":
        check_seed(value)
    return value


def choices(name: str, folder: Path = CONFIG_FOLDER) -> list[str]:
    """What a section can be set to: files of config/ or families; of `evaluation`, scales."""
    return sorted(_files(name, folder))


def _files(name: str, folder: Path) -> dict[str, Path]:
    """The files of a section by what it is set to."""
    if name == "evaluation":
        return {path.parent.name: path for path in (folder / SCALES).glob("*/evaluation.yaml")}
    roots = [folder / name, *(find(family).recipes / name for family in names())]
    return {
        str(path.relative_to(root).with_suffix("")): path
        for root in roots
        for path in root.rglob("*.yaml")
    }


def _recipes() -> str:
    """Where Hydra finds the files of families, beside those of config/."""
    return ",".join(f"file://{find(family).recipes}" for family in names())


def keys_below(words: Sequence[str], folder: Path = CONFIG_FOLDER) -> list[str]:
    """Keys of the sections whose files the words choose, such as train.lr."""
    found = []
    for word in words:
        name, _, choice = word.partition("=")
        if name in SECTIONS and (file := _files(name, folder).get(choice)):
            found += [f"{name}.{key}" for key in read_keys(file)]
    return found


def _chosen(word: str, folder: Path) -> str:
    """An override as Hydra is told it; the file of `evaluation=SCALE` is in that scale's folder."""
    name, _, choice = word.partition("=")
    if name in SECTIONS:
        files = _files(name, folder)
        choose(name, choice, sorted(files))
        if "defaults" in read_keys(files[choice]):
            raise ValueError(f"{files[choice]} must hold all values itself, not `defaults`")
    return f"+{SCALES}/{choice}@evaluation=evaluation" if name == "evaluation" else word


def section(name: str, raw: DictConfig | dict[str, Any]) -> Any:
    """Turn one section's raw values into its dataclass.

    Raises: ValueError naming the key for unknown or missing keys, wrong types and bad values.
    """
    schema = SECTIONS[name]
    if isinstance(schema, dict):
        selector = SELECTORS[name]
        choice = str(raw.get(selector, ""))
        choose(f"{name}.{selector}", choice, tuple(schema))
        schema = schema[choice]
    elif name in SELECTORS:
        schema = schema(str(raw.get(SELECTORS[name], "")))
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), raw)
        missing = sorted(str(key) for key in OmegaConf.missing_keys(merged))
        if missing:
            raise ValueError(f"{name}: no value for {listed(missing)}")
        made: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        wrong = str(error.full_key or _misshapen(schema, raw))
        key = f"{name}.{wrong}" if wrong else name
        message = str(error).splitlines()[0] if error.full_key or not wrong else SHAPE
        if isinstance(error, ConfigKeyError | ConfigAttributeError):
            keys = nearest((field.name for field in fields(schema)), wrong)
            message = f"there is no such key; the keys of {name} are {keys}"
        raise ValueError(f"{key}: {message}") from error
    for key, value in asdict(made).items():
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{name}.{key} must be finite, got {value}")
    return made


def _misshapen(schema: Any, raw: DictConfig | dict[str, Any]) -> str:
    """The key whose value alone does not fit the schema; nothing if there is none."""
    whole = OmegaConf.create(raw)
    for key in map(str, raw):
        try:
            OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.masked_copy(whole, key))
        except OmegaConfBaseException:
            return key
    return ""


def as_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as nested plain dicts, for files and hashes."""
    assert is_dataclass(config) and not isinstance(config, type)
    return asdict(config)
