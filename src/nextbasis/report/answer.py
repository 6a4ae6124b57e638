"""What a scale answers, in sentences made from the ledger of claims and from nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextbasis.claims.verdict import (
    CONTRADICTED,
    NO_EFFECT,
    NOT_TESTED,
    REPRODUCED,
    SAME_RUN,
    UNDECIDED,
)
from nextbasis.claims.words import effect_text
from nextbasis.scoring.facts import METRICS

Row = Mapping[str, Any]  # of claims.csv; a number that is not there is NaN
NAMED = 3  # statements named on a tile
TILES = (REPRODUCED, CONTRADICTED, NO_EFFECT, UNDECIDED)
PAPERS = ("BAR", "RAR")  # how the source of a claim begins


@dataclass(frozen=True)
class Tile:
    """How many claims have a verdict, and the first of them."""

    verdict: str
    number: int
    statements: list[str]


@dataclass(frozen=True)
class Answer:
    """What the claims of one paper come to at a scale."""

    paper: str
    word: str
    sentences: list[str]


def answers(claims: Sequence[Row]) -> list[Answer]:
    """An answer for each paper of which the scale measures a claim."""
    found = []
    for paper in PAPERS:
        own = [row for row in claims if str(row["source"]).startswith(paper)]
        measured = [row for row in own if row["verdict"] not in (NOT_TESTED, SAME_RUN)]
        if measured:
            found.append(Answer(paper, _word(measured), [_sentence(row) for row in measured]))
    return found


def tiles(claims: Sequence[Row]) -> list[Tile]:
    """A tile for each verdict, and one for what the scale does not measure."""
    kinds = [(verdict, (verdict,)) for verdict in TILES]
    found = []
    for name, verdicts in (*kinds, ("not at this scale", (NOT_TESTED, SAME_RUN))):
        own = [str(row["statement"]) for row in claims if row["verdict"] in verdicts]
        found.append(Tile(name, len(own), own[:NAMED]))
    return found


def _word(measured: Sequence[Row]) -> str:
    """Yes, no, partly or undecided: what the verdicts of a paper have in common."""
    verdicts = {row["verdict"] for row in measured}
    if verdicts == {REPRODUCED}:
        return "Reproduced at this scale."
    if verdicts <= {CONTRADICTED, NO_EFFECT}:
        return "Not reproduced at this scale."
    if verdicts == {UNDECIDED}:
        return "Undecided at this scale."
    decided = [name for name in (REPRODUCED, CONTRADICTED, NO_EFFECT) if name in verdicts]
    counts = [f"{sum(row['verdict'] == name for row in measured)} {name}" for name in decided]
    open_ = sum(row["verdict"] == UNDECIDED for row in measured)
    rest = [f"{open_} undecided"] if open_ else []
    return f"{', '.join([*counts, *rest])} of {len(measured)} claims that this scale measures."


def _sentence(row: Row) -> str:
    """A claim with its verdict, the effect and the interval that decided."""
    text = f"“{str(row['statement']).strip()}” {str(row['verdict']).capitalize()}"
    if _known(row["effect"]):
        ratio = row["effect_is"] != "difference"
        numbers = [row["effect"], row["low_deciding"], row["high_deciding"]]
        effect, low, high = (
            effect_text(float(value), ratio) if _known(value) else "" for value in numbers
        )
        interval = f", {low} to {high}" if low else ""
        what = f"{METRICS[str(row['metric'])].label}, {row['comparison']}"
        seeds = f"; {int(row['n_seeds'])} seeds" if _known(row["n_seeds"]) else ""
        text += f" ({what}: {effect}{interval}{seeds})"
    return text + "."


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
