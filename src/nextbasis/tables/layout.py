"""Which cell says what: a catalog entry and its numbers become rows of text with footnotes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from nextbasis.pipeline.catalog import Catalog, evals_made, is_awaited, table_of
from nextbasis.pipeline.checks import check_table
from nextbasis.scoring.facts import METRICS
from nextbasis.tables.external import External, place
from nextbasis.tables.measured import (
    ANALYTIC,
    SEED_SPREAD,
    STANDARD_ERROR,
    Estimate,
    estimate,
)
from nextbasis.tables.numbers import measured_text, published_text
from nextbasis.tables.published import Number, Numbers, look_up

NOTHING = "–"
PUBLISHED_ONLY = "published only"
NOT_PUBLISHED = "not in the paper"
NOT_MEASURED = "not at this scale"
AWAITED = "not run yet"
AXES = {  # what the rows of a table vary, as its column and the axis of its figure are called
    "iterations": "iterations of sampling",
    "guidance": "strength of guidance",
    "budget": "steps of training",
    "cells": "cells of the grid",
}


@dataclass(frozen=True)
class Cell:
    """Text of one cell, the letters of its footnotes, and what a page shows when pointed at it."""

    text: str
    marks: tuple[str, ...] = ()
    hint: str = field(default="", compare=False)


@dataclass
class Layout:
    """A table ready to be rendered: nothing in it needs another look-up."""

    name: str
    title: str
    caption: str
    warning: str
    header: list[tuple[str, str]]
    columns: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    footnotes: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    tidy: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Judgement:
    """What the claim about a pair says of it, in the words of the ledger."""

    difference: Estimate | None  # with its standard error; None where it was not measured
    alone: str  # its interval by itself
    deciding: str  # that by which the claim is decided
    verdict: str


Judgements = Mapping[tuple[str, str], Judgement]  # by baseline and system


class Builder:
    """Fills a Layout row by row, collecting footnotes and sources on the way."""

    def __init__(
        self,
        catalog: Catalog,
        scale: str,
        name: str,
        numbers: tuple[pd.DataFrame, Numbers],
        header: tuple[list[tuple[str, str]], str],
        externals: Sequence[External] = (),
        judgements: Judgements | None = None,
    ) -> None:
        """Take the measured and the published numbers and the facts printed above the table.

        `externals` are measured on samples from outside; `judgements` are of every pair, if the
        table is of pairs.

        Raises: ValueError for an unknown metric and for a system that no scale evaluates.
        """
        check_table(catalog, name)
        self.catalog, self.scale, self.table = catalog, scale, table_of(catalog, name)
        self.measured, self.published = numbers
        self.judgements = judgements or {}
        self.external, self.alone = place(catalog, scale, self.table, externals)
        self.letters: dict[str, str] = {}
        self.kinds: set[str] = set()
        self.layout = Layout(
            name=name,
            title=self.table["title"],
            caption=self.table["caption"],
            header=header[0],
            warning=header[1],
        )

    def build(self) -> Layout:
        """The finished layout."""
        if self.table["kind"] == "pairs":
            rows = [self._pair_row(entry) for entry in self.table["rows"]]
        else:
            entries = enumerate(self.table["rows"])
            rows = [self._system_row(entry, self.external.get(i)) for i, entry in entries]
            rows += [self._system_row({"label": one.name}, one) for one in self.alone]
        frame = pd.DataFrame(rows)
        blank, always = {Cell(NOTHING), Cell("")}, ("system", "images")
        keep = [str(name) for name in frame if name in always or set(frame[name]) - blank]
        varied = AXES.get(self.table.get("varies", ""), "system")
        self.layout.columns = [varied if name == "system" else name for name in keep]
        self.layout.rows = frame[keep].values.tolist()
        self.layout.footnotes = [(letter, flag) for flag, letter in self.letters.items()]
        self.layout.notes = self._notes()
        self.layout.sources = list(dict.fromkeys(self.layout.sources))
        return self.layout

    def _system_row(self, entry: dict[str, Any], external: External | None) -> dict[str, Cell]:
        system = entry.get("system")
        references = entry.get("published", [])
        found = {
            metric: external.estimate(metric) if external else self._estimate(system, metric)
            for metric in self.table["metrics"]
        }
        cells = {"group": Cell(entry.get("group", "")), "system": Cell(entry["label"])}
        places: dict[str, None] = {}
        for metric, value in found.items():
            number = look_up(self.published, references, metric) if references else None
            fact, first = METRICS[metric], metric == self.table["metrics"][0]
            missing = self._waits(system) or (PUBLISHED_ONLY if references else NOT_MEASURED)
            cells[fact.heading] = self._measured(value, metric, missing if first else NOTHING)
            cells[f"{fact.label}, published"] = self._published(number, metric)
            if number:
                places[number.place] = None
            self._tidy(entry["label"], entry.get("group", ""), system, metric, value, number)
        cells["images"] = self._images(next(filter(None, found.values()), None))
        cells["published in"] = Cell(", ".join(places) if references else NOT_PUBLISHED)
        notes = [entry.get("note", ""), external.note() if external else ""]
        cells["what it is"] = Cell("; ".join(filter(None, notes)))
        return cells

    def _pair_row(self, entry: dict[str, Any]) -> dict[str, Cell]:
        metric, label = self.table["metrics"][0], entry["label"]
        fact = METRICS[metric]
        sides = (("", "baseline", "published_baseline"), (" + BAR", "system", "published"))
        values, numbers = [], []
        for suffix, key, reference in sides:
            values.append(self._estimate(entry[key], metric))
            told = entry.get(reference)
            numbers.append(look_up(self.published, told, metric) if told else None)
            self._tidy(label + suffix, "", entry[key], metric, values[-1], numbers[-1])
        judged = self.judgements[entry["baseline"], entry["system"]]
        gain = judged.difference
        cells = {"system": Cell(label)}
        waits = [self._waits(entry[key]) for _, key, _ in sides]
        cells[fact.heading] = self._measured(values[0], metric, waits[0] or PUBLISHED_ONLY)
        cells[f"+ BAR {fact.arrow}"] = self._measured(values[1], metric, waits[1] or NOTHING)
        cells["difference"] = self._measured(gain, metric, NOTHING, sign="+")
        cells["interval by itself"] = Cell(judged.alone)
        cells["interval that decides"] = Cell(judged.deciding)
        cells["verdict"] = Cell(judged.verdict)
        cells["images"] = self._images(gain)
        cells[f"{fact.label}, published"] = self._published(numbers[0], metric)
        cells["+ BAR, published"] = self._published(numbers[1], metric)
        change = _difference(numbers[0], numbers[1])
        cells["difference, published"] = Cell(NOTHING)
        if change:
            cells["difference, published"] = Cell(published_text(change.value, metric, "+"))
            cells["published in"] = Cell(change.place)
        self._tidy(f"{label} difference", "", entry["system"], f"{metric}_difference", gain, change)
        return cells

    def _estimate(self, system: str | None, metric: str) -> Estimate | None:
        if system is None:
            return None
        found = evals_made(self.catalog, self.scale, system)
        return estimate(self.measured, system, metric) if found else None

    def _waits(self, system: str | None) -> str:
        """That a system waits for results, where it does."""
        return AWAITED if system and is_awaited(self.catalog, self.scale, system) else ""

    def _measured(self, value: Estimate | None, metric: str, missing: str, sign: str = "") -> Cell:
        if value is None:
            return Cell(missing)
        text, hint = measured_text(value.value, metric, sign), self._hint(value)
        if math.isnan(value.spread):
            return Cell(text, hint=hint)
        self.kinds.add(value.kind)
        mark = " SE" if value.kind == ANALYTIC else ""
        spread = measured_text(value.spread, metric)
        return Cell(f"{text} ± {spread}{mark} ({value.num_seeds})", hint=hint)

    def _published(self, number: Number | None, metric: str) -> Cell:
        if number is None:
            return Cell(NOTHING)
        self.layout.sources.append(f"{number.place}: {number.source}")
        text = published_text(number.value, metric)
        hint = f"{number.place}: {number.source}; {number.unit}"
        if not number.flag:
            return Cell(text, hint=hint)
        letter = self.letters.setdefault(number.flag, letters(len(self.letters)))
        return Cell(text, (letter,), f"{hint}; {number.flag}")

    def _hint(self, value: Estimate) -> str:
        """How a measured number came about, in one line."""
        seeds = f"{value.num_seeds} seed" + "s" * (value.num_seeds != 1)
        protocol = dict(self.layout.header).get("protocol", "")
        parts = (
            f"scale {self.scale}",
            f"protocol {protocol}",
            seeds,
            f"{value.num_images:,} images",
        )
        return ", ".join([*parts, f"± {value.kind}"] if value.kind else parts)

    def _images(self, value: Estimate | None) -> Cell:
        return Cell(NOTHING if value is None else f"{value.num_images:,}")

    def _tidy(
        self,
        label: str,
        group: str,
        system: str | None,
        metric: str,
        value: Estimate | None,
        number: Number | None,
    ) -> None:
        self.layout.tidy.append(
            {
                "group": group,
                "row": label,
                "system": system or "",
                "metric": metric,
                "measured": value.value if value else None,
                "spread": value.spread if value and not math.isnan(value.spread) else None,
                "spread_is": value.kind if value else "",
                "n_seeds": value.num_seeds if value else None,
                "n_images": value.num_images if value else None,
                "published": number.value if number else None,
                "unit": number.unit if number else "",
                "source": f"{number.source}, {number.place}" if number else "",
                "flag": number.flag if number else "",
            }
        )

    def _notes(self) -> list[str]:
        notes = []
        if SEED_SPREAD in self.kinds:
            notes.append("mean ± standard deviation over seeds (number of seeds)")
        if STANDARD_ERROR in self.kinds:
            notes.append("differences: mean ± standard error over seeds (number of seeds)")
        if self.table["kind"] == "pairs":
            notes.append(
                "verdict and intervals: those of the claim about the pair, as in the ledger of "
                "claims, which explains them"
            )
        if ANALYTIC in self.kinds:
            notes.append(
                "SE: one seed only; the standard error due to the finite number of images, which "
                "does not contain the variation between trainings"
            )
        if {"precision", "recall"} & set(self.table["metrics"]):
            notes.append("precision and recall depend on the number of images; FID a little")
        return notes


def _difference(baseline: Number | None, other: Number | None) -> Number | None:
    """Other minus baseline, as published."""
    if baseline is None or other is None:
        return None
    return replace(other, value=round(other.value - baseline.value, 6), flag="")


def letters(index: int) -> str:
    """The mark of a footnote: a, b, ..., z, aa, ..."""
    text = chr(ord("a") + index % 26)
    return text if index < 26 else letters(index // 26 - 1) + text
