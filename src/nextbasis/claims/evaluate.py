"""The verdict on every claim at one scale, from its scores and the published numbers."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nextbasis.claims.finding import Comparison, Finding, Part
from nextbasis.claims.inputs import Claims, variants
from nextbasis.claims.measure import Entry, Measurements
from nextbasis.claims.runs import reading, readings_tried
from nextbasis.claims.verdict import Region, holm
from nextbasis.pipeline.catalog import Catalog, scales
from nextbasis.scoring.facts import METRICS
from nextbasis.tables.published import Numbers


def evaluate(claims: Claims, catalog: Catalog, scale: str, numbers: Numbers) -> list[Finding]:
    """The findings of one scale, in the order of the claims.

    Raises: FileNotFoundError for a score that the scale has but that was not made; ValueError for
    references that lead nowhere, conflicts that are none, and runs of different budgets.
    """
    measurements, order = Measurements(claims, catalog, scale, numbers), scales(catalog)
    found = []
    for name, claim in claims["claims"].items():
        obstacle = f"needs {claim['needs']}" if "needs" in claim else ""
        if order.index(scale) < order.index(claim["decidable_from"]):
            obstacle = obstacle or f"decidable from scale {claim['decidable_from']}"
        parts = []
        for entry in claim["compare"]:
            measurements.check_budgets(name, entry, claim.get("differ", []))
            of_training = METRICS[entry["metric"]].varies == "training"
            tried = readings_tried(catalog, scale, entry) if of_training else []
            each = []
            for variant in variants(entry, catalog, scale):
                name_of_a = reading(catalog, scale, variant["system"]) if of_training else ""
                each.append(_compare(claim, variant, measurements, name_of_a))
            parts.append(Part(each, max(1, len(tried))))
        conflicts = [_conflict(name, pair, measurements) for pair in claim.get("conflicts", [])]
        first = [part.comparisons[0] for part in parts]
        conflicts += [_against(each, claim) for each in first if _published_outside(each)]
        found.append(Finding(name, claim, parts, obstacle, conflicts))
    return _with_rates(found, claims["alpha"])


def _with_rates(findings: Sequence[Finding], alpha: float) -> list[Finding]:
    """The findings, each tested one with the rate that Holm leaves it among all of them.

    Claims that wait for results count among the tested ones, as the least certain of them, so what
    is decided before they come is decided at a rate that holds with them, too.
    """
    tested = {finding.name: finding.levels().least for finding in findings if finding.tested}
    waiting = sum(finding.waits for finding in findings)
    rates = holm([*tested.values(), *[1.0] * waiting], alpha)[: len(tested)]
    rate_of = dict(zip(tested, rates, strict=True))
    return [replace(finding, rate=rate_of.get(finding.name, math.nan)) for finding in findings]


def _compare(
    claim: dict[str, Any], entry: Entry, measurements: Measurements, name: str
) -> Comparison:
    kind, pair = claim["kind"], measurements.published(entry)
    effect = measurements.effect(entry, kind == "ratio")
    published, share = None, 0.0
    if pair is not None:
        one, other = (number.value for number in pair)
        published = math.log(one / other) if kind == "ratio" else one - other
        if kind in ("below", "above") and METRICS[entry["metric"]].varies == "training":
            share = abs(one - other) / other
    return Comparison(
        entry=entry,
        effect=effect,
        region=_region(claim, published),
        published=published,
        share=share,
        margin=share * measurements.baseline(entry) if effect is not None else 0.0,
        same_run=effect is not None and measurements.same_run(entry),
        hindrance=measurements.hindrance(entry, effect, kind),
        num_images=measurements.num_images(entry),
        reading=name,
    )


def _region(claim: dict[str, Any], published: float | None) -> Region:
    """Differences below or above 0, about 0, or ratios about the published one (else 1)."""
    if claim["kind"] in ("below", "above"):
        return Region(-math.inf, 0) if claim["kind"] == "below" else Region(0, math.inf)
    if claim["kind"] == "equal":
        return Region(-claim["tolerance"], claim["tolerance"])
    width = math.log1p(claim["tolerance"])
    return Region((published or 0.0) - width, (published or 0.0) + width)


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
