"""The verdict on every claim at one scale, from its scores and the published numbers."""

import math
from dataclasses import dataclass, field
from typing import Any

from nextbasis.claims.effects import Effect
from nextbasis.claims.inputs import Claims
from nextbasis.claims.measure import Entry, Measurements
from nextbasis.claims.verdict import (
    CONTRADICTED,
    REPRODUCED,
    UNDECIDED,
    Region,
    decide,
    doubt,
    seeds_needed,
    verdict,
)
from nextbasis.pipeline.catalog import Catalog, scales
from nextbasis.tables.published import Numbers

CROSSES = "the interval crosses the bound"


@dataclass(frozen=True)
class Comparison:
    """One difference (of logarithms, if the claim is of a ratio) that a claim rests on."""

    entry: Entry
    effect: Effect | None  # None where it was not measured at this scale
    region: Region  # where the claim says it lies
    published: float | None  # the same effect by the paper's own numbers
    verdict: str
    hindrance: str  # why it cannot decide, whatever its interval; else empty
    images: str

    @property
    def label(self) -> str:
        """What is compared with what."""
        other = self.entry.get("than") or f"{self.entry['than_published']} as published"
        return f"{self.entry['system']} against {other}"


@dataclass(frozen=True)
class Finding:
    """What is found about one claim at one scale."""

    name: str
    claim: dict[str, Any]
    verdict: str
    reason: str  # why it is undecided; else empty
    seeds: int  # that would decide it; 0 if they would not or it is unknown
    comparisons: list[Comparison]
    conflicts: list[str] = field(default_factory=list)  # of the published numbers

    @property
    def measured(self) -> bool:
        """Whether this scale has any of its comparisons."""
        return any(comparison.effect is not None for comparison in self.comparisons)

    @property
    def logarithm(self) -> bool:
        """Whether effects are logarithms of ratios."""
        return self.claim["kind"] == "ratio"


def evaluate(claims: Claims, catalog: Catalog, scale: str, numbers: Numbers) -> list[Finding]:
    """The findings of one scale, in the order of the claims.

    Raises: FileNotFoundError for a score that the scale has but that was not made; ValueError for
    references that lead nowhere and conflicts that are none.
    """
    measurements = Measurements(claims, catalog, scale, numbers)
    alpha, order = claims["alpha"], scales(catalog)
    found = []
    for name, claim in claims["claims"].items():
        obstacle = f"needs {claim['needs']}" if "needs" in claim else ""
        if order.index(scale) < order.index(claim["decidable_from"]):
            obstacle = obstacle or f"decidable from scale {claim['decidable_from']}"
        compared = [_compare(claim, e, measurements, alpha, obstacle) for e in claim["compare"]]
        outcome, reason, seeds = _judge(compared, obstacle or _hindrance(compared), alpha)
        conflicts = [_conflict(name, pair, measurements) for pair in claim.get("conflicts", [])]
        conflicts += [_against(c, claim) for c in compared if _published_outside(c)]
        found.append(Finding(name, claim, outcome, reason, seeds, compared, conflicts))
    return found


def decisive(finding: Finding, alpha: float) -> Comparison | None:
    """The measured comparison that speaks most against the claim."""
    measured = [c for c in finding.comparisons if c.effect is not None]

    def order(comparison: Comparison) -> float:
        assert comparison.effect is not None
        return doubt(comparison.effect, comparison.region, alpha)

    return min(measured, key=order, default=None)


def _compare(
    claim: dict[str, Any], entry: Entry, measurements: Measurements, alpha: float, obstacle: str
) -> Comparison:
    effect = measurements.effect(entry, claim["kind"] == "ratio")
    pair = measurements.published(entry)
    published = None if pair is None else pair[0].value - pair[1].value
    if pair is not None and claim["kind"] == "ratio":
        published = math.log(pair[0].value / pair[1].value)
    region = _region(claim, published)
    hindrance = obstacle or measurements.hindrance(entry, effect, claim["kind"])
    found = UNDECIDED
    if effect is not None and not hindrance:
        found = verdict(effect, region, alpha)
    images = measurements.num_images(entry)
    return Comparison(entry, effect, region, published, found, hindrance, images)


def _region(claim: dict[str, Any], published: float | None) -> Region:
    """Differences below or above 0, about 0, or ratios about the published one (else 1)."""
    if claim["kind"] in ("below", "above"):
        return Region(-math.inf, 0) if claim["kind"] == "below" else Region(0, math.inf)
    if claim["kind"] == "equal":
        return Region(-claim["tolerance"], claim["tolerance"])
    width = math.log1p(claim["tolerance"])
    return Region((published or 0.0) - width, (published or 0.0) + width)


def _judge(compared: list[Comparison], hindrance: str, alpha: float) -> tuple[str, str, int]:
    """Verdict, reason and seeds; what is hindered cannot establish a claim but others refute it."""
    able = [(c.effect, c.region) for c in compared if c.effect is not None and not c.hindrance]
    found = decide([e for e, _ in able], [r for _, r in able], alpha) if able else UNDECIDED
    if found == CONTRADICTED or (found == REPRODUCED and len(able) == len(compared)):
        return found, "", 0
    undecided = [pair for pair in able if verdict(*pair, alpha) == UNDECIDED]
    needed = [seeds_needed(*pair, alpha) for pair in undecided]
    seeds = max(needed) if needed and all(needed) else 0
    return UNDECIDED, hindrance or CROSSES, seeds


def _hindrance(compared: list[Comparison]) -> str:
    if missing := [c.label for c in compared if c.effect is None]:
        return f"not measured at this scale: {'; '.join(missing)}"
    return next((c.hindrance for c in compared if c.hindrance), "")


def _conflict(name: str, pair: dict[str, Any], measurements: Measurements) -> str:
    """Two published numbers that should be one, as a sentence; rates are turned into times.

    Raises: ValueError if they are equal.
    """
    texts = []
    for reference, metric in pair["between"]:
        number = measurements.number(reference, metric)
        seconds = 1 / number.value if metric == "images_per_second" else number.value
        unit = " s" if "second" in metric else ""
        texts.append((f"{seconds:.3g}{unit}", f"({number.place})"))
    (a, place_a), (b, place_b) = texts
    if a == b:
        raise ValueError(f"claims.{name}: both numbers of '{pair['about']}' are {a}: no conflict")
    return f"{pair['about']}: {a} {place_a} against {b} {place_b}"


def _published_outside(comparison: Comparison) -> bool:
    value = comparison.published
    return value is not None and comparison.region.depth(value) <= 0


def _against(comparison: Comparison, claim: dict[str, Any]) -> str:
    value = comparison.published or 0.0
    text = f"{math.exp(value):.3g} times" if claim["kind"] == "ratio" else f"{value:+.3g}"
    return f"the published numbers contradict it themselves: {comparison.label} is {text}"
