"""Every recorded number of a version, and how much its like varies from seed to seed."""

import csv
import io
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextbasis.claims.effects import Values
from nextbasis.diff.causes import Stages, flatten
from nextbasis.diff.history import Version
from nextbasis.pipeline.catalog import SCALES, TABLES, Catalog, assemble, joined
from nextbasis.support.instructions import machine
from nextbasis.support.yamls import parse_yaml

Number = int | float
Cells = dict[tuple[str, str], tuple[float, float]]  # file and row: value and spread
FILES = ("metrics.json", "score.json")
SPEEDS = ("speed.json",)  # never the same twice
ONE_CATALOG = "config/catalog.yaml"


@dataclass(frozen=True)
class Numbers:
    """Numbers of one version: by file, then by key; the catalog that names their systems."""

    values: dict[str, dict[str, Number]]
    catalog: dict[str, Any]
    machines: dict[str, str]  # by file: the processor and instruction set that made it, if recorded


def read_numbers(version: Version, stages: Stages, speeds: bool) -> Numbers:
    """Every number of every metrics file that DVC recorded and the version holds.

    Of files of speeds only with `speeds`.

    Raises: ValueError if it holds none.
    """
    outs = [out["path"] for stage in stages.values() for out in stage.get("outs", [])]
    names = FILES + SPEEDS if speeds else FILES
    paths = sorted(path for path in outs if path.endswith(names))
    files = {path: json.loads(text) for path, text in version.read(paths).items()}
    values = {path: _numbers(content) for path, content in files.items()}
    if not values:
        raise ValueError(
            f"{version.name} holds none of the {len(paths)} metrics files that its dvc.lock "
            "records; `make tables` makes them, or `git log --oneline -- results` lists commits "
            "that have them"
        )
    return Numbers(values, _catalog(version), _machines(files))


def _catalog(version: Version) -> Catalog:
    """The version's catalog; before there was a folder a scale, it was one file."""
    parsed = {
        Path(path): parse_yaml(text) or {}
        for path, text in version.read(
            [*version.of_scales("catalog.yaml"), str(TABLES), ONE_CATALOG]
        ).items()
    }
    sections = {
        path.parent.name: joined(path.parent.name, parsed)
        for path in parsed
        if path.parent.parent == SCALES
    }
    tables = parsed.get(TABLES, {})
    return assemble(sections, tables) if sections else parsed.get(Path(ONE_CATALOG), {})


def _machines(files: dict[str, dict[str, Any]]) -> dict[str, str]:
    found = {path: machine(content) for path, content in files.items()}
    return {path: text for path, text in found.items() if text}


def _numbers(content: dict[str, Any]) -> dict[str, Number]:
    leaves = flatten(content)
    return {
        key: value
        for key, value in leaves.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def read_cells(version: Version, numbers: Numbers) -> Cells:
    """The measured numbers of the version's rendered tables."""
    scales = sorted({path.split("/")[1] for path in numbers.values if path.count("/") > 1})
    tables = numbers.catalog.get("tables") or {}
    paths = [f"results/{scale}/tables/{table}.csv" for scale in scales for table in tables]
    found: Cells = {}
    for path, text in version.read(paths).items():
        for row in csv.DictReader(io.StringIO(text)):
            if row["measured"]:
                name = " ".join(filter(None, (row["group"], row["row"], row["metric"])))
                found[path, name] = float(row["measured"]), float(row["spread"] or "nan")
    return found


def pooled(groups: Sequence[Values]) -> float:
    """Standard deviation over seeds within systems, pooled; NaN if none has two seeds.

    Assumes that the systems vary alike.
    """
    several = [list(values.values()) for values in groups if len(values) > 1]
    df = sum(len(values) - 1 for values in several)
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in several)
    return math.sqrt(squares / df) if df else math.nan


class Spreads:
    """How far a number of some evaluation lies from that of another seed."""

    def __init__(self, numbers: Numbers) -> None:
        """Take one version's numbers."""
        self.numbers = numbers
        self._systems: dict[str, dict[str, tuple[str, str, int]]] = {}

    def of(self, path: str, key: str) -> float:
        """Standard deviation over seeds of this system's number; NaN if there is one seed only.

        Systems with one seed take that of their family's systems with several.
        """
        _, scale, kind, name = (*path.split("/"), "", "", "", "")[:4]
        members = self._members(scale, kind)
        if name not in members:
            return math.nan
        system, family, _ = members[name]
        groups: dict[str, dict[int, float]] = {}
        for other, (its_system, its_family, seed) in members.items():
            value = self.numbers.values.get(path.replace(f"/{name}/", f"/{other}/"), {}).get(key)
            if its_family == family and value is not None:
                groups.setdefault(its_system, {})[seed] = float(value)
        own: list[Values] = [groups[system]] if len(groups.get(system, {})) > 1 else []
        return pooled(own or list(groups.values()))

    def _members(self, scale: str, kind: str) -> dict[str, tuple[str, str, int]]:
        """By evaluation, or by run for trainings: system, family and seed."""
        label = f"{scale}/{kind}"
        if label not in self._systems:
            section = self.numbers.catalog.get(scale, {})
            evals = section.get("evals", {}) if kind in ("score", "sample", "train") else {}
            self._systems[label] = {
                entry["run"] if kind == "train" else key: (
                    entry["system"],
                    entry.get("family", ""),
                    entry["seed"],
                )
                for key, entry in evals.items()
            }
        return self._systems[label]
