"""What differs between two versions: numbers against their spread, claims, tables, pictures."""

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nextbasis.diff.causes import Causes
from nextbasis.diff.history import Version, locked_stages
from nextbasis.diff.numbers import Cells, Number, Numbers, Spreads, read_cells, read_numbers
from nextbasis.diff.unseen import scales, unseen

PICTURES = (".png",)


@dataclass(frozen=True)
class Change:
    """One number that differs."""

    path: str
    key: str
    old: Number | None  # None where a version lacks it
    new: Number | None
    spread: float  # over seeds; NaN if unknown
    moved: bool  # by more than the threshold
    reason: str

    @property
    def difference(self) -> float:
        """New minus old; NaN where one is lacking."""
        return math.nan if self.old is None or self.new is None else self.new - self.old

    @property
    def spreads(self) -> float:
        """The difference in units of the spread; NaN if that is unknown, infinite if it is 0."""
        if self.spread == 0:
            return math.inf
        return abs(self.difference) / self.spread


@dataclass(frozen=True)
class Flip:
    """A claim whose verdict differs."""

    scale: str
    claim: str
    old: str
    new: str


@dataclass(frozen=True)
class Picture:
    """A picture whose content differs, by the hashes that DVC's cache knows it by."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Difference:
    """Everything that differs from one version to another."""

    old: str
    new: str
    threshold: float  # in spreads
    changes: list[Change]
    only_old: list[str]  # metrics files that the other version, but not its scale, lacks
    only_new: list[str]
    causes: list[tuple[str, list[str]]]  # what differs, and the stages that it reaches
    flips: list[Flip]
    without_claims: list[str]  # versions whose claims were never computed
    pictures: list[Picture]
    num_same: int
    tables: list[Change]  # cells of rendered tables
    unseen: list[str]  # sentences about what is not compared

    @property
    def moved(self) -> bool:
        """Whether a number moved beyond the threshold or a verdict flipped."""
        return bool(self.flips) or any(change.moved for change in self.changes)

    def as_dict(self) -> dict[str, Any]:
        """For programs: NaN becomes null; `metrics` has the form of `dvc metrics diff --json`."""
        metrics, tables = _by_path(self.changes), _by_path(self.tables)
        lists: dict[str, Any] = {
            "causes": [{"what": text, "stages": stages} for text, stages in self.causes],
            "flips": [asdict(flip) for flip in self.flips],
            "pictures": [asdict(picture) for picture in self.pictures],
        }
        rest = {"only_old": self.only_old, "only_new": self.only_new, "moved": self.moved}
        rest |= {"unseen": self.unseen}
        return {
            "old": self.old,
            "new": self.new,
            "metrics": metrics,
            "tables": tables,
            **lists,
            **rest,
        }


def _by_path(changes: list[Change]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for change in changes:
        entry: dict[str, Any] = {"old": change.old, "new": change.new}
        if not math.isnan(change.difference):
            entry["diff"] = change.difference
        if not math.isnan(change.spread):
            entry["spread"] = change.spread
        entry |= {"moved": change.moved, "reason": change.reason}
        found.setdefault(change.path, {})[change.key] = entry
    return found


def compare(
    old: Version, new: Version, threshold: float, speeds: bool = False, root: Path = Path()
) -> Difference:
    """Everything that differs, and what cannot be seen; speeds on request.

    Raises: ValueError for a version without recorded results.
    """
    stages = locked_stages(old), locked_stages(new)
    numbers = read_numbers(old, stages[0], speeds), read_numbers(new, stages[1], speeds)
    causes = Causes(*stages, (numbers[0].machines, numbers[1].machines))
    changes, same = _changes(numbers, causes, threshold)
    versions = list(zip((old, new), numbers, strict=True))
    verdicts = [_verdicts(version, found) for version, found in versions]
    cells = [read_cells(version, found) for version, found in versions]
    lone = scales(stages[0]) ^ scales(stages[1])  # which `unseen` tells of
    paths = [
        {path for path in found.values if lone.isdisjoint(path.split("/")[1:2])}
        for found in numbers
    ]
    return Difference(
        old=old.name,
        new=new.name,
        threshold=threshold,
        changes=changes,
        only_old=sorted(paths[0] - paths[1]),
        only_new=sorted(paths[1] - paths[0]),
        causes=causes.all(),
        flips=[
            Flip(*key, verdicts[0][key], verdicts[1][key])
            for key in verdicts[0]
            if key in verdicts[1] and verdicts[0][key] != verdicts[1][key]
        ],
        without_claims=[v.name for v, t in zip((old, new), verdicts, strict=True) if not t],
        pictures=_pictures(*stages),
        num_same=same,
        tables=_cell_changes(cells[0], cells[1], threshold),
        unseen=unseen(old, new, stages, root),
    )


def _changes(
    numbers: tuple[Numbers, Numbers], causes: Causes, threshold: float
) -> tuple[list[Change], int]:
    """Numbers that differ, each with its reason, and how many are the same."""
    old, new = numbers
    spreads = Spreads(old), Spreads(new)
    found, same = [], 0
    for path in sorted(set(old.values) & set(new.values)):
        before, after = old.values[path], new.values[path]
        keys = [*before, *(key for key in after if key not in before)]
        differing = [key for key in keys if before.get(key) != after.get(key)]
        same += len(keys) - len(differing)
        if not differing:
            continue
        reason = causes.explain(path)
        for key in differing:
            both = [value for s in spreads if not math.isnan(value := s.of(path, key))]
            spread = max(both, default=math.nan)
            change = Change(path, key, before.get(key), after.get(key), spread, False, reason)
            moved = abs(change.difference) > threshold * spread
            found.append(Change(path, key, change.old, change.new, spread, moved, reason))
    return found, same


def _cell_changes(old: Cells, new: Cells, threshold: float) -> list[Change]:
    """Cells of rendered tables that differ; their spread is the one that the table prints."""
    found = []
    for place in sorted(set(old) & set(new)):
        (before, spread), (after, other) = old[place], new[place]
        if before != after:
            spreads = [value for value in (spread, other) if not math.isnan(value)]
            known = max(spreads, default=math.nan)
            moved = abs(after - before) > threshold * known
            found.append(Change(*place, before, after, known, moved, "the numbers above"))
    return found


def _verdicts(version: Version, numbers: Numbers) -> dict[tuple[str, str], str]:
    """Verdicts by scale and claim, as the version's own ledger has them."""
    scales = sorted({path.split("/")[1] for path in numbers.values})
    paths = {f"results/{scale}/claims/claims.csv": scale for scale in scales}
    found = {}
    for path, text in version.read(paths).items():
        for row in csv.DictReader(io.StringIO(text)):
            found[paths[path], row["claim"]] = row["verdict"]
    return found


def _pictures(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[Picture]:
    before, after = (
        {
            out["path"]: out["md5"]
            for stage in stages.values()
            for out in stage.get("outs", [])
            if out["path"].endswith(PICTURES)
        }
        for stages in (old, new)
    )
    both = [path for path in before if path in after and before[path] != after[path]]
    return [Picture(path, before[path], after[path]) for path in sorted(both)]
