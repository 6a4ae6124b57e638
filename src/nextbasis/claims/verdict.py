"""From effects to a verdict: a claim is a region that each of its effects must lie in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nextbasis.claims.effects import Effect, half_width, seeds_to_decide

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"


@dataclass(frozen=True)
class Region:
    """Where an effect lies if the claim holds: strictly between two bounds."""

    low: float
    high: float

    def depth(self, value: float) -> float:
        """How deep inside the region a value lies; negative outside."""
        return min(value - self.low, self.high - value)


def decide(effects: Sequence[Effect], regions: Sequence[Region], alpha: float) -> str:
    """The verdict on a claim that all effects lie in their regions.

    A false claim is found reproduced, and a true one contradicted, at most at rate `alpha`:
    every single interval must lie inside for the first, and for the second one of k intervals of
    confidence 1 - alpha / k must lie outside (intersection-union; Bonferroni).
    """
    pairs = list(zip(effects, regions, strict=True))
    if pairs and all(verdict(*pair, alpha) == REPRODUCED for pair in pairs):
        return REPRODUCED
    if any(verdict(*pair, alpha / len(pairs)) == CONTRADICTED for pair in pairs):
        return CONTRADICTED
    return UNDECIDED


def verdict(effect: Effect, region: Region, alpha: float) -> str:
    """The verdict on one effect: its interval lies inside, outside, or across the bounds."""
    half, depth = half_width(effect, alpha), region.depth(effect.value)
    if math.isnan(half):
        return UNDECIDED
    if half == 0:
        return REPRODUCED if depth > 0 else CONTRADICTED
    if abs(depth) <= half:
        return UNDECIDED
    return REPRODUCED if depth > 0 else CONTRADICTED


def doubt(effect: Effect, region: Region, alpha: float) -> float:
    """Order of comparisons from the one that speaks most against the claim."""
    half, depth = half_width(effect, alpha), region.depth(effect.value)
    if math.isnan(half) or half == 0:
        return math.copysign(math.inf, depth) if half == 0 else 0.0
    return depth / half


def seeds_needed(effect: Effect, region: Region, alpha: float) -> int:
    """Seeds that would decide, if effect and spread stay what they are; 0 if that is unknown."""
    distance = abs(region.depth(effect.value))
    return seeds_to_decide(effect, distance, alpha) if distance > 0 else 0
