"""Rows measured on samples from outside: config/external.yaml and the scores that it names."""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextbasis.pipeline.catalog import Catalog, evals_of
from nextbasis.scoring.facts import METRICS
from nextbasis.support.files import read_json, result_folder, write_text
from nextbasis.support.words import listed
from nextbasis.support.yamls import check_keys, read_yaml, write_yaml
from nextbasis.tables.inputs import EXTERNAL
from nextbasis.tables.measured import ANALYTIC, PROTOCOL, Estimate

KEYS = ("scale", "score", "source", "sha256")
COMPARABLE = PROTOCOL[:-1]  # another reference is allowed, and told
HEAD = """\
# Samples made outside this pipeline and scored by it: `nextbasis score` adds rows. `score` is the
# file of the score, `source` who made the samples, `sha256` that of their pixels in order.
"""


@dataclass(frozen=True)
class External:
    """A row measured on somebody's samples."""

    name: str
    source: str
    values: dict[str, float]
    protocol: dict[str, Any]

    def estimate(self, metric: str) -> Estimate | None:
        """One metric, with its analytic standard error; None where it was not measured."""
        if metric not in self.values:
            return None
        error = METRICS[metric].error
        return Estimate(
            value=self.values[metric],
            spread=self.values[error] if error else math.nan,
            kind=ANALYTIC if error else "",
            num_seeds=1,
            num_images=self.protocol["num_images"],
        )

    def note(self) -> str:
        """What a reader must know: whose samples, and compared with what."""
        return f"samples from {self.source}; reference: {self.protocol['reference']}"


def slug(name: str) -> str:
    """What of a name is compared: lower-case letters and digits of any script, and a plus.

    A plus between blanks only joins two names, as other signs do.
    """
    joined = re.sub(r"\s\+\s", " ", unicodedata.normalize("NFKC", name).lower())
    return "".join(sign for sign in joined if sign.isalnum() or sign == "+")


def read_rows(path: Path = EXTERNAL) -> dict[str, dict[str, str]]:
    """The rows of external.yaml; none if there is no such file.

    Raises: ValueError naming a row that lacks a key, or a key that nothing reads.
    """
    if not path.is_file():
        return {}
    content = read_yaml(path) or {}
    check_keys(path, content, ("rows",))
    rows = content.get("rows") or {}
    for name, row in rows.items():
        check_keys(f"{path}: row '{name}'", row, KEYS)
        if lacking := [key for key in KEYS if key not in row]:
            raise ValueError(f"{path}: row '{name}' has no {listed(lacking)}")
    return rows


def add_row(name: str, row: dict[str, str], path: Path = EXTERNAL) -> None:
    """Add a row, or replace the one of that name.

    Raises: ValueError if the file could not be read again; it is left as it was then.
    """
    rows = {other: old for other, old in read_rows(path).items() if slug(other) != slug(name)}
    write_text(path, HEAD + write_yaml({"rows": rows | {name: row}}))


def load(scale: str) -> list[External]:
    """The external rows of one scale.

    Raises: FileNotFoundError or ValueError naming the row and its score file.
    """
    found = []
    for name, row in read_rows().items():
        if row["scale"] != scale:
            continue
        path = Path(row["score"])
        if not path.is_file():
            raise FileNotFoundError(
                f"{EXTERNAL}: {path} of row '{name}' is missing; run `nextbasis score` again or "
                "remove the row"
            )
        score = read_json(path)
        found.append(External(name, row["source"], score["values"], score["protocol"]))
    return found


def check_comparable(externals: Iterable[External], protocol: dict[str, Any]) -> None:
    """Check that external rows were scored as the table's own ones were.

    Raises: ValueError naming the row and what differs.
    """
    for external in externals:
        for key in COMPARABLE:
            if external.protocol[key] != protocol[key]:
                raise ValueError(
                    f"{EXTERNAL}: row '{external.name}' cannot stand in this table: its {key} is "
                    f"{external.protocol[key]}, the table's {protocol[key]}"
                )


def fits(external: External, entry: dict[str, Any]) -> bool:
    """Whether a table's row is the one that an external row is named after."""
    published = entry.get("published", [])
    references = [published] if isinstance(published, str) else published
    names = [entry["label"], *(reference.rpartition("/")[2] for reference in references)]
    return slug(external.name) in map(slug, names)


def place(
    catalog: Catalog, scale: str, table: dict[str, Any], externals: Sequence[External]
) -> tuple[dict[int, External], list[External]]:
    """Which external row fills which row (by position) of a table, and which stand for themselves.

    Filled are rows that the scale has not measured. A name that fits no row of any table stands for
    itself in every table that has rows of other people's systems and one of its metrics.
    """
    filled = {
        position: external
        for external in externals
        for position, entry in enumerate(table["rows"])
        if fits(external, entry) and not _is_measured(catalog, scale, entry)
    }
    others = any("system" not in entry and "published" in entry for entry in table["rows"])
    known = [
        entry
        for each in catalog["tables"].values()
        if each["kind"] == "systems"
        for entry in each["rows"]
    ]
    alone = [
        external
        for external in externals
        if others
        and external.values.keys() & table["metrics"]
        and not any(fits(external, entry) for entry in known)
    ]
    return filled, alone


def _is_measured(catalog: Catalog, scale: str, entry: dict[str, Any]) -> bool:
    """Whether the scale has scored the system of a table's row."""
    evals = evals_of(catalog, scale, entry["system"]) if "system" in entry else {}
    scores = [result_folder(scale, "score", key) / "score.json" for key in evals]
    return any(path.is_file() for path in scores)
