"""What two runs differ in, and which reading of BAR's objective one of them is."""

from pathlib import Path
from typing import Any

from nextbasis.families import find
from nextbasis.pipeline.catalog import Catalog, evals_of, section
from nextbasis.support.yamls import parse_yaml, read_keys

BASES = Path("config/basis")
SETTINGS = ("family", "model", "tokens", "captions", "train", "sampler", "basis", "order")
OVERRIDES = ("overrides", "sampling")  # of them, and of the sampler
ANYTHING = "system"  # what a claim names that compares two systems as they are
WEIGHTED = ("r0", "r0_inverse", "r2")  # by the signal-to-noise ratio
OPEN = ("residual_weight", "energy_weight", "snr_clip", "noise_level", "detach_target")
# What a reading may bring along: the energy part alone needs a projection that keeps A's scale.
CHOICES = tuple(f"basis.{key}" for key in ("objective", *OPEN, "projection", "regulariser"))

Settings = dict[str, Any]  # by the key of a config, such as basis.objective


def settings(part: dict[str, Any], entry: dict[str, Any]) -> Settings:
    """What a line of a catalog gives a run and its sampler, seed and number of images aside."""
    line = part["runs"].get(entry["run"], {}) | entry
    found = {key: line[key] for key in SETTINGS if key in line}
    words = " ".join(line.get(key, "") for key in OVERRIDES).split()
    given = (word.lstrip("+").partition("=") for word in words)
    return found | {key: parse_yaml(value) for key, _, value in given}


def differing(one: Settings, other: Settings) -> list[str]:
    """Keys in which two runs differ, in the order of the first."""
    return [key for key in one | other if one.get(key) != other.get(key)]


def unnamed(catalog: Catalog, scale: str, sides: tuple[str, str], named: list[str]) -> list[str]:
    """What two systems differ in at a scale besides what a claim names, as `key: one, other`.

    A name stands for all keys below it. Seeds of one system may differ in nothing.
    """
    ours, others = (_runs(catalog, scale, system) for system in sides)
    pairs = [(run, other, named) for run in ours for other in others]
    pairs += [(group[0], run, []) for group in (ours, others) if group for run in group[1:]]
    return list(
        dict.fromkeys(
            f"{key}: {one.get(key, 'as in its file')}, {other.get(key, 'as in its file')}"
            for one, other, allowed in pairs
            for key in differing(one, other)
            if ANYTHING not in allowed and not _below(key, allowed)
        )
    )


def _below(key: str, names: list[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def reading(catalog: Catalog, scale: str, system: str) -> str:
    """The reading of BAR's objective that trains a system's A; empty where no A is learned.

    The name of docs/basis.md, section 6, and what is chosen otherwise than in the basis's file.

    Raises: FileNotFoundError naming that file.
    """
    runs = _runs(catalog, scale, system)
    return _reading(runs[0]) if runs else ""


def readings_tried(catalog: Catalog, scale: str, entry: dict[str, Any]) -> list[str]:
    """The readings in which a comparison was tried at a scale, that of its system first.

    They are those of all runs that differ from its own in nothing else, and of those that the
    claim lists; its own alone where the other side has the same; none where no A is learned.
    """
    own = reading(catalog, scale, entry["system"])
    if not own or own == reading(catalog, scale, entry.get("than", "")):
        return [own] if own else []
    run, part = _runs(catalog, scale, entry["system"])[0], section(catalog, scale)
    others = [settings(part, each) for each in part["evals"].values()]
    near = [each for each in others if set(differing(run, each)) <= set(CHOICES)]
    listed = [reading(catalog, scale, system) for system in entry.get("readings", [])]
    found = dict.fromkeys([own, *map(_reading, near), *listed])
    return [name for name in found if name]


def _runs(catalog: Catalog, scale: str, system: str) -> list[Settings]:
    part = section(catalog, scale)
    return [settings(part, entry) for entry in evals_of(catalog, scale, system).values()]


def _reading(run: Settings) -> str:
    file = read_keys(BASES / f"{run['basis']}.yaml")
    if not file["learned"]:
        return ""
    chosen = {key: run.get(f"basis.{key}", file[key]) for key in ("objective", *OPEN)}
    name, clip = chosen["objective"], chosen["snr_clip"]
    if name in WEIGHTED and 0 < clip <= find(run["family"]).least_snr:
        name += " of constant weight"
    changed = [f"{key} {chosen[key]}" for key in OPEN if chosen[key] != file[key]]
    return ", ".join([name, *changed])
