"""The measured effect of each comparison at one scale, and what keeps it from deciding."""

import math
from typing import Any

import numpy as np
import pandas as pd

from nextbasis.claims.effects import Effect, Values, difference, exact
from nextbasis.claims.inputs import Claims, claimed_systems, systems_of
from nextbasis.claims.runs import ANYTHING
from nextbasis.pipeline.catalog import Catalog, is_awaited
from nextbasis.scoring.facts import METRICS, SCORES
from nextbasis.support.words import listed
from nextbasis.tables.layout import AWAITED
from nextbasis.tables.measured import collect
from nextbasis.tables.published import Number, Numbers, look_up

Entry = dict[str, Any]  # one comparison of a claim


class Measurements:
    """The numbers of every system that the claims name, at one scale."""

    def __init__(self, claims: Claims, catalog: Catalog, scale: str, numbers: Numbers) -> None:
        """Read the scale's results.

        Raises: FileNotFoundError for a score that the scale has but that was not made.
        """
        systems = claimed_systems(claims, catalog, scale)
        self.frame, self.numbers = collect(catalog, scale, systems), numbers
        self._catalog, self._scale = catalog, scale
        self._systems = dict(iter(self.frame.groupby("system")))

    def effect(self, entry: Entry, logarithm: bool) -> Effect | None:
        """The comparison's difference (of logarithms); None where a side was not measured."""
        metric = entry["metric"]
        sides = [self._values(system, metric, logarithm) for system in systems_of(entry)]
        if not all(sides):
            return None
        other: Values | float
        if "than_published" in entry:
            value = self.number(entry["than_published"], metric).value
            other = math.log(value) if logarithm else value
        else:
            other = sides[1]
        effect = difference(sides[0], other)
        return exact(effect.value) if METRICS[metric].varies == "never" else effect

    def check_budgets(self, name: str, entry: Entry, named: list[str]) -> None:
        """Check that both sides of a claim's comparison were trained alike, unless it names that.

        Raises: ValueError naming the claim, the systems and their budgets.
        """
        found = {}
        for system in systems_of(entry):
            if len(rows := self._rows(system)):
                found[system] = rows["budget"].iloc[0]
        if len(set(found.values())) > 1 and not {ANYTHING, "train"} & set(named):
            sides = " and ".join(f"{system} ({budget})" for system, budget in found.items())
            raise ValueError(
                f"claims.{name}: {sides} were trained by different budgets, which the claim does "
                "not name; run `dvc repro` on both"
            )

    def same_run(self, entry: Entry) -> bool:
        """Whether the two sides made the same samples, seed by seed.

        Their hashes tell; where a score has none, every score of all common seeds must be equal.
        Only of metrics that differ by training: the same samples can take different times.
        """
        if "than" not in entry or METRICS[entry["metric"]].varies != "training":
            return False
        sides = [self._rows(system) for system in systems_of(entry)]
        seeds = set(sides[0]["seed"]) & set(sides[1]["seed"])
        scores = [metric.name for metric in SCORES]
        common = [side[side["seed"].isin(seeds) & side["metric"].isin(scores)] for side in sides]
        told = all((side["samples"] != "").all() for side in common)
        keys = ["seed", "samples"] if told else ["seed", "metric", "value"]
        one, other = ({*side[keys].itertuples(index=False, name=None)} for side in common)
        return one == other and bool(one)

    def baseline(self, entry: Entry) -> float:
        """The number of the second side, the mean over its seeds if it is measured."""
        if "than_published" in entry:
            return self.number(entry["than_published"], entry["metric"]).value
        return float(np.mean(list(self._values(entry["than"], entry["metric"], False).values())))

    def hindrance(self, entry: Entry, effect: Effect | None, kind: str) -> str:
        """Why the effect cannot decide, whatever its interval, or waits; empty if it can decide.

        A score that fewer images raise, such as FID, can decide between unequal numbers of them
        only where the side with fewer is the smaller one all the same. Speeds decide on one
        processor only.
        """
        systems = systems_of(entry)
        if effect is None and any(is_awaited(self._catalog, self._scale, name) for name in systems):
            return AWAITED
        if effect is not None and METRICS[entry["metric"]].varies == "machine":
            timed = sorted({name for system in systems for name in self._rows(system)["processor"]})
            many = f"timed on {listed(timed, ' and ')}, whose speeds do not compare"
            return many if len(timed) > 1 else ""
        counts = [self._images(system) for system in systems]
        if effect is None or len(counts) < 2 or counts[0] == counts[1]:
            return ""
        change = METRICS[entry["metric"]].few_images
        if not change:
            return ""
        smaller = 0 if effect.value < 0 else 1
        safe = change == "raise" and kind in ("below", "above")
        if safe and counts[smaller] < counts[1 - smaller]:
            return ""
        return f"sampled with {counts[0]:,} and {counts[1]:,} images, which shifts the score"

    def published(self, entry: Entry) -> tuple[Number, Number] | None:
        """What the paper prints for both sides."""
        if "published" not in entry:
            return None
        first, other = (self.number(name, entry["metric"]) for name in entry["published"])
        return first, other

    def number(self, reference: str, metric: str) -> Number:
        """One published number.

        Raises: ValueError if there is none.
        """
        found = look_up(self.numbers, reference, metric)
        if found is None:
            raise ValueError(f"claims: '{reference}' has no published {metric}")
        return found

    def num_images(self, entry: Entry) -> list[int]:
        """Numbers of images of the measured sides, each once."""
        return sorted({self._images(system) for system in systems_of(entry)})

    def _images(self, system: str) -> int:
        rows = self._rows(system)
        return int(rows["num_images"].iloc[0]) if len(rows) else 0

    def _values(self, system: str, metric: str, logarithm: bool) -> dict[int, float]:
        rows = self._rows(system)
        found = _by_seed(rows[rows["metric"] == metric], "value")
        return {seed: math.log(value) if logarithm else value for seed, value in found.items()}

    def _rows(self, system: str) -> pd.DataFrame:
        return self._systems.get(system, self.frame[:0])


def _by_seed(rows: pd.DataFrame, column: str) -> dict[int, Any]:
    return dict(zip(rows["seed"].astype(int), rows[column], strict=True))
