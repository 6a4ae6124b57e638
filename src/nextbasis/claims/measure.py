"""The measured effect of each comparison at one scale, and what keeps it from deciding."""

import math
from typing import Any

import numpy as np

from nextbasis.claims.effects import Effect, Spread, Values, difference, exact, pooled
from nextbasis.claims.inputs import Claims, claimed_systems, systems_of
from nextbasis.pipeline.catalog import Catalog, evals_of, section
from nextbasis.scoring.facts import METRICS
from nextbasis.tables.measured import collect
from nextbasis.tables.published import Number, Numbers, look_up

Entry = dict[str, Any]  # one comparison of a claim


class Measurements:
    """The numbers of every system that the claims name, at one scale."""

    def __init__(self, claims: Claims, catalog: Catalog, scale: str, numbers: Numbers) -> None:
        """Read the scale's results.

        Raises: FileNotFoundError for a score that the scale has but that was not made.
        """
        systems = [name for name in claimed_systems(claims) if evals_of(catalog, scale, name)]
        self.frame, self.numbers = collect(catalog, scale, systems), numbers
        runs = section(catalog, scale)["runs"]
        self.families = {
            name: runs[entry["run"]]["family"]
            for name in systems
            for entry in evals_of(catalog, scale, name).values()
        }

    def effect(self, entry: Entry, logarithm: bool) -> Effect | None:
        """The comparison's difference (of logarithms); None where a side was not measured."""
        metric = entry["metric"]
        sides = [self._values(system, metric, logarithm) for system in systems_of(entry)]
        if not all(sides):
            return None
        spread = self._spread(systems_of(entry), metric, logarithm)
        if "than_published" not in entry:
            other: Values | float = sides[1]
        else:
            value = self.number(entry["than_published"], metric).value
            other = math.log(value) if logarithm else value
        effect = difference(sides[0], other, spread)
        return exact(effect.value) if METRICS[metric].varies == "never" else effect

    def hindrance(self, entry: Entry, effect: Effect | None, kind: str) -> str:
        """Why the effect cannot decide, whatever its interval; empty if it can.

        A score that fewer images raise, such as FID, can decide between unequal numbers of them
        only where the side with fewer is the smaller one all the same.
        """
        counts = [self._images(system) for system in systems_of(entry)]
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

    def num_images(self, entry: Entry) -> str:
        """Numbers of images of the measured sides, as text."""
        counts = {self._images(system) for system in systems_of(entry)}
        return " and ".join(f"{count:,}" for count in sorted(counts))

    def _images(self, system: str) -> int:
        rows = self.frame[self.frame["system"] == system]
        return int(rows["num_images"].iloc[0]) if len(rows) else 0

    def _values(self, system: str, metric: str, logarithm: bool) -> Values:
        rows = self.frame[(self.frame["system"] == system) & (self.frame["metric"] == metric)]
        values = np.log(rows["value"]) if logarithm else rows["value"]
        return dict(zip(rows["seed"].astype(int), values.astype(float), strict=True))

    def _spread(self, systems: list[str], metric: str, logarithm: bool) -> Spread | None:
        """Deviation over seeds, pooled over all systems of these systems' families.

        None for speeds: what varies there is the load of the machine, not the training.
        """
        if METRICS[metric].varies != "training":
            return None
        families = {self.families[system] for system in systems}
        alike = [name for name, family in self.families.items() if family in families]
        return pooled([self._values(name, metric, logarithm) for name in alike])
