"""What is found about a claim: its comparisons, their readings, and what they say together."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from nextbasis.claims.effects import ALIKE, ONE_SEED, Effect, with_seeds
from nextbasis.claims.measure import Entry
from nextbasis.claims.verdict import (
    NO_EFFECT,
    NOT_TESTED,
    SAME_RUN,
    UNDECIDED,
    Levels,
    Region,
    all_of,
    any_of,
    levels,
    seeds_needed,
)

MOST_SEEDS = 10_000
UNKNOWN = {  # by test, why there is no interval
    ONE_SEED: "one seed decides nothing",
    ALIKE: "all seeds differ by the same, which tells no spread",
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One difference (of logarithms, if the claim is of a ratio) that a claim rests on."""

    entry: Entry
    effect: Effect | None  # None where it was not measured at this scale
    region: Region  # where the claim says it lies
    published: float | None  # the same effect by the paper's own numbers
    share: float  # that effect by the paper's baseline; 0 where nothing is published
    margin: float  # the same share of the measured baseline; 0 where there is none
    same_run: bool  # whether both sides made the same samples
    hindrance: str  # why it cannot decide, whatever its interval; else empty
    num_images: list[int]  # different ones of the measured sides
    reading: str  # of BAR's objective, that trains A; empty where none is learned

    @property
    def label(self) -> str:
        """What is compared with what."""
        other = self.entry.get("than") or f"{self.entry['than_published']} as published"
        return f"{self.entry['system']} against {other}"

    @property
    def tested(self) -> bool:
        """Whether it has an interval that can decide."""
        return self.effect is not None and not self.obstacle

    @property
    def obstacle(self) -> str:
        """Why it has none; else empty."""
        if self.effect is None:
            return self.hindrance or "not measured at this scale"
        if self.same_run:
            return f"{self.entry['system']} and {self.entry['than']} made the same samples"
        return self.hindrance or UNKNOWN.get(self.effect.test, "")

    def levels(self, seeds: int | None = None) -> Levels:
        """What it says by itself; with so many seeds, if effect and spread stayed what they are."""
        if self.effect is None or self.obstacle:
            return Levels()
        effect = with_seeds(self.effect, seeds) if seeds else self.effect
        return levels(effect, self.region, self.margin)

    @property
    def depth(self) -> float:
        """How deep its effect lies in the region of the claim; negative outside of it."""
        return self.region.depth(self.effect.value) if self.effect else 0.0

    @property
    def support(self) -> float:
        """From -1, where it contradicts the claim for certain, to 1, where it reproduces it."""
        found = self.levels()
        return found.contradicted - found.reproduced


@dataclass(frozen=True)
class Part:
    """One comparison of a claim, in every reading that it is measured in."""

    comparisons: list[Comparison]  # that of the claim's own system first
    num_readings: int  # tried at this scale, of which these are the measured ones; at least 1

    def levels(self, seeds: int | None = None) -> Levels:
        """What they say together."""
        return any_of([each.levels(seeds) for each in self.comparisons], self.num_readings)

    @property
    def best(self) -> Comparison:
        """The reading that speaks most for the claim, of those that are tested."""
        tested = [comparison for comparison in self.comparisons if comparison.tested]
        return max(tested, key=lambda each: each.support, default=self.comparisons[0])


@dataclass(frozen=True)
class Finding:
    """What is found about one claim at one scale."""

    name: str
    claim: dict[str, Any]
    parts: list[Part]
    obstacle: str = ""  # why this scale cannot test it; else empty
    conflicts: list[str] = field(default_factory=list)  # of the published numbers
    rate: float = math.nan  # of error, by Holm over all tested claims; NaN if it is not tested

    @property
    def comparisons(self) -> list[Comparison]:
        """Every comparison of every part."""
        return [comparison for part in self.parts for comparison in part.comparisons]

    @property
    def logarithm(self) -> bool:
        """Whether effects are logarithms of ratios."""
        return self.claim["kind"] == "ratio"

    @property
    def tested(self) -> bool:
        """Whether any of its comparisons has an interval that speaks about the claim."""
        return not self.obstacle and any(comparison.tested for comparison in self.comparisons)

    @property
    def waits(self) -> bool:
        """Whether it cannot be tested before results come that a comparison waits for."""
        awaited = any(each.effect is None and each.hindrance for each in self.comparisons)
        return awaited and not self.obstacle and not self.tested

    def levels(self, seeds: int | None = None) -> Levels:
        """What all parts say together; with so many seeds, if all else stayed what it is."""
        return all_of([part.levels(seeds) for part in self.parts])

    @property
    def verdict(self) -> str:
        """One of the four verdicts, or why there is none."""
        found = self.levels().decide(self.rate) if self.tested else UNDECIDED
        if found != UNDECIDED:
            return found
        if self.obstacle or any(part.comparisons[0].effect is None for part in self.parts):
            return NOT_TESTED
        return SAME_RUN if any(part.best.same_run for part in self.parts) else UNDECIDED

    @property
    def reasons(self) -> list[str]:
        """Why there is no verdict, or an open one."""
        found, compared = self.verdict, self.comparisons
        if found == NOT_TESTED:
            missing = [
                f"{each.hindrance}: {each.label}" if each.hindrance else each.label
                for each in compared
                if each.effect is None
            ]
            return [self.obstacle] if self.obstacle else missing
        if found == SAME_RUN:
            return list(dict.fromkeys(each.obstacle for each in compared if each.same_run))
        if found != UNDECIDED:
            return []
        counts = Counter(each.obstacle for each in compared if each.obstacle)
        several = len(compared) > 1
        reasons = [
            f"{count} of {len(compared)} comparisons: {text}" if several else text
            for text, count in counts.items()
        ]
        if self.seeds:
            number = f"over {MOST_SEEDS:,}" if self.seeds == MOST_SEEDS else f"about {self.seeds:,}"
            reasons.append(f"{number} seeds would decide at today's spread")
        return reasons

    @property
    def seeds(self) -> int:
        """Seeds that would decide it at today's spread; 0 where none would or it is unknown."""
        if self.verdict != UNDECIDED or not self.tested:
            return 0
        return seeds_needed(lambda number: self.levels(number).least, self.rate, MOST_SEEDS)

    @property
    def decisive(self) -> Part | None:
        """The part that decides, or would: the one that speaks most against the claim.

        None where this scale has no effect that speaks about the claim.
        """
        found, shown = self.verdict, [part for part in self.parts if part.best.effect is not None]
        if self.obstacle or not shown:
            return None
        if found == NO_EFFECT:
            return max(shown, key=lambda part: part.levels().small)
        if found == SAME_RUN:
            return next(part for part in shown if part.best.same_run)
        tested = [part for part in shown if part.best.tested]
        return min(tested or shown, key=lambda part: (part.best.support, part.best.depth))

    def rate_of(self, part: Part, comparison: Comparison) -> float:
        """The rate of error of the interval by which a comparison decides the claim.

        To reproduce the claim a part needs the best of the readings that were tried; to contradict
        it takes the worst of the parts. NaN if the claim is not tested.
        """
        if self.verdict == NO_EFFECT:
            return self.rate
        return self.rate / (part.num_readings if comparison.depth > 0 else len(self.parts))
