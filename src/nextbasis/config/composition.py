"""Compose the config of one stage from config/ with Hydra and check it."""

from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nextbasis.config.checks import choose
from nextbasis.config.stages import SCHEMAS, SECTIONS, SELECTORS
from nextbasis.families import find, names
from nextbasis.support.words import listed

CONFIG_FOLDER = Path("config")
SCALES = "scales"  # below it: a folder a scale


def compose(stage: str, overrides: Sequence[str], folder: Path = CONFIG_FOLDER) -> Any:
    """Compose and check the config of one stage from Hydra overrides such as `model=small/xar_b`.

    Raises: ValueError naming the key, the value and what would be right.
    """
    try:
        with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            words = [_checked(word, folder) for word in overrides]
            raw = hydra_compose("config", [f"hydra.searchpath=[{_recipes()}]", *words])
    except HydraException as error:
        message = str(error).split("To append")[0].strip()
        raise ValueError(f"stage {stage}: {message} config/README.md lists every key") from error
    schema = SCHEMAS[stage]
    wanted = {field.name: field.type for field in fields(schema)}
    given = {str(name) for name in raw if str(name) in SECTIONS}
    if superfluous := sorted(given - wanted.keys()):
        raise ValueError(
            f"stage {stage} does not read {listed(superfluous)}; it reads {listed(wanted)}"
        )
    values = {}
    for name in wanted:
        if OmegaConf.is_missing(raw, name) or name not in raw:
            choice = f"one of {listed(choices(name, folder))}" if name in SECTIONS else "<value>"
            raise ValueError(f"stage {stage} needs {name}={choice}")
        values[name] = section(name, raw[name]) if name in SECTIONS else raw[name]
    return schema(**values)


def choices(name: str, folder: Path = CONFIG_FOLDER) -> list[str]:
    """What a section can be set to: files of config/ or families; of `evaluation`, scales."""
    if name == "evaluation":
        return sorted(path.parent.name for path in (folder / SCALES).glob("*/evaluation.yaml"))
    roots = [folder / name, *(find(family).recipes / name for family in names())]
    return sorted(
        str(path.relative_to(root).with_suffix(""))
        for root in roots
        for path in root.rglob("*.yaml")
    )


def _recipes() -> str:
    """Where Hydra finds the files of families, beside those of config/."""
    return ",".join(f"file://{find(family).recipes}" for family in names())


def _checked(word: str, folder: Path) -> str:
    """An override as Hydra is told it; the file of `evaluation=SCALE` is in that scale's folder."""
    name, _, choice = word.partition("=")
    if name in SECTIONS:
        choose(name, choice, choices(name, folder))
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
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        keys = listed(field.name for field in fields(schema))
        key = f"{name}.{error.full_key}" if error.full_key else name
        message = str(error).splitlines()[0]
        raise ValueError(f"{key}: {message}; the keys of {name} are {keys}") from error


def as_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as nested plain dicts, for files and hashes."""
    assert is_dataclass(config) and not isinstance(config, type)
    return asdict(config)
