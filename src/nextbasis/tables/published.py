"""Published numbers, each with the source it was copied from (config/published.csv)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nextbasis.support.words import listed

COLUMNS = ("paper", "table", "system", "metric", "value", "unit", "source", "flag")
KEY = ["paper", "table", "system", "metric"]


@dataclass(frozen=True)
class Number:
    """One published number."""

    value: float
    unit: str
    source: str  # the document it was read in
    place: str  # paper and table
    flag: str  # what to know before using it; empty if nothing


Numbers = dict[tuple[str, str], Number]  # by reference (paper/table/system) and metric


def load(path: Path) -> Numbers:
    """Read the published numbers.

    Raises: FileNotFoundError; ValueError naming the file, for other columns, values that are no
    numbers, rows without a source, and rows that are there twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it holds the published numbers")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise ValueError(f"{path} must have the columns {', '.join(COLUMNS)}")
    value = pd.to_numeric(frame["value"], errors="coerce")
    for problem, rows in (
        ("the value is not a number", frame[value.isna()]),
        ("the source is empty", frame[frame["source"] == ""]),
        ("the row is there twice", frame[frame.duplicated(KEY)]),
    ):
        if len(rows):
            raise ValueError(f"{path}: {problem}: {'/'.join(rows.iloc[0][KEY])}")
    return {
        (f"{row['paper']}/{row['table']}/{row['system']}", row["metric"]): Number(
            value=float(row["value"]),
            unit=row["unit"],
            source=row["source"],
            place=f"{row['paper']} {row['table'].replace('_', ' ')}",
            flag=row["flag"],
        )
        for row in frame.to_dict("records")
    }


def look_up(numbers: Numbers, references: str | Sequence[str], metric: str) -> Number | None:
    """The number that one of the references `paper/table/system` gives for a metric, or None.

    Raises: ValueError naming a reference that leads nowhere, or two that give the same metric.
    """
    references = [references] if isinstance(references, str) else list(references)
    for reference in references:
        _check(numbers, reference)
    found = [numbers[key] for reference in references if (key := (reference, metric)) in numbers]
    if len(found) > 1:
        raise ValueError(f"{listed(references, ' and ')} both give {metric}; name one of them")
    return found[0] if found else None


def _check(numbers: Numbers, reference: str) -> None:
    known = sorted({name for name, _ in numbers})
    if reference not in known:
        near = [name for name in known if name.startswith(reference.split("/")[0] + "/")]
        raise ValueError(
            f"published: '{reference}' has no row; it must be paper/table/system, "
            f"such as {listed(near or known[:1])}"
        )
