"""How large a difference is and how well it is known: paired over seeds wherever possible."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

EXACT = "exact"
PAIRED = "paired over seeds"
WELCH = "Welch, no common seeds"
ONE_SAMPLE = "against the published value"
BORROWED = "one seed; spread borrowed from systems with several"
UNKNOWN = "one seed; spread unknown"
LEAST = 2.0  # no difference within so many standard errors is ever decided

Values = Mapping[int, float]  # by seed


@dataclass(frozen=True)
class Effect:
    """A difference; `se` is NaN where nothing is known about its spread, and 0 if it is exact."""

    value: float
    se: float
    df: float  # degrees of freedom of `se`
    num_seeds: int
    test: str


@dataclass(frozen=True)
class Spread:
    """Standard deviation between seeds, pooled over systems."""

    sd: float
    df: int


def pooled(groups: Sequence[Values]) -> Spread | None:
    """Deviation within systems over seeds, pooled; None if no system has two seeds.

    Assumes that the systems vary alike.
    """
    several = [np.array(list(values.values())) for values in groups if len(values) > 1]
    df = sum(len(values) - 1 for values in several)
    if not df:
        return None
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several)
    return Spread(math.sqrt(squares / df), df)


def difference(system: Values, than: Values | float, borrowed: Spread | None) -> Effect:
    """System minus the other, which is another system's values or one published number.

    Seeds in common are paired: runs of one seed share batches and noise. With a single seed the
    spread is `borrowed`, taking the two sides as independent.
    """
    if isinstance(than, float | int):
        return _one_sample(list(system.values()), float(than), borrowed)
    common = sorted(set(system) & set(than))
    if len(common) > 1:
        return _mean([system[seed] - than[seed] for seed in common], PAIRED)
    if not common and min(len(system), len(than)) > 1:
        return _welch(list(system.values()), list(than.values()))
    if common:
        value = system[common[0]] - than[common[0]]
    else:
        value = float(np.mean(list(system.values())) - np.mean(list(than.values())))
    return _borrowed(value, borrowed, math.sqrt(2))


def exact(value: float) -> Effect:
    """A difference without any noise, such as of parameter counts."""
    return Effect(value, 0.0, math.inf, 1, EXACT)


def half_width(effect: Effect, alpha: float) -> float:
    """Half the width of the interval of confidence 1 - alpha, at least two standard errors."""
    if effect.se == 0 or math.isnan(effect.se):
        return effect.se
    return max(float(student.ppf(1 - alpha / 2, effect.df)), LEAST) * effect.se


def seeds_to_decide(effect: Effect, distance: float, alpha: float, most: int = 10_000) -> int:
    """Least number of paired seeds whose interval is narrower than `distance`; `most` if more.

    Supposes that effect and spread stay what they are. 0 where the spread is unknown.
    """
    if not effect.se > 0:
        return 0
    sd = effect.se * math.sqrt(effect.num_seeds)
    low, high = 1, most
    while high - low > 1:  # the interval shrinks with every seed
        middle = (low + high) // 2
        width = half_width(Effect(0.0, sd / math.sqrt(middle), middle - 1, middle, ""), alpha)
        low, high = (low, middle) if width < distance else (middle, high)
    return high


def _one_sample(values: list[float], published: float, borrowed: Spread | None) -> Effect:
    if len(values) > 1:
        return _mean([value - published for value in values], ONE_SAMPLE)
    return _borrowed(values[0] - published, borrowed, 1.0)


def _mean(differences: list[float], test: str) -> Effect:
    number = len(differences)
    se = float(np.std(differences, ddof=1)) / math.sqrt(number)
    return Effect(float(np.mean(differences)), se, number - 1, number, test)


def _welch(a: list[float], b: list[float]) -> Effect:
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (a, b)]
    square = sum(parts)
    spread = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    df = square**2 / spread if spread else math.inf
    number = min(len(a), len(b))
    return Effect(float(np.mean(a) - np.mean(b)), math.sqrt(square), df, number, WELCH)


def _borrowed(value: float, spread: Spread | None, factor: float) -> Effect:
    if spread is None:
        return Effect(value, math.nan, 0, 1, UNKNOWN)
    return Effect(value, factor * spread.sd, spread.df, 1, BORROWED)
