"""How large a difference is and how well it is known: seed by seed wherever both sides have it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's distribution and its quantiles

EXACT = "exact"
PAIRED = "paired over seeds"
WELCH = "Welch, seeds not paired"
ONE_SAMPLE = "against the published value"
ONE_SEED = "one seed"
ALIKE = "all seeds differ by the same"
ROUNDING = 1e-9  # differences that vary by less of their values are taken for equal

Values = Mapping[int, float]  # by seed


@dataclass(frozen=True)
class Effect:
    """A difference; `se` is NaN where nothing is known about its spread, and 0 if it is exact."""

    value: float
    se: float
    df: float  # degrees of freedom of `se`
    num_seeds: int
    test: str

    @property
    def known(self) -> bool:
        """Whether it has an interval."""
        return not math.isnan(self.se)


def difference(system: Values, than: Values | float) -> Effect:
    """System minus the other, which is another system's values or one published number.

    Two or more common seeds are paired (Student): runs of one seed share batches and noise. Without
    them, sides of two or more seeds are compared by Welch's statistic, whose variances may differ.
    One seed has no spread, and borrows none.
    """
    if isinstance(than, float | int):
        return _mean([value - than for value in system.values()], than, ONE_SAMPLE)
    common = sorted(set(system) & set(than))
    if len(common) < 2 <= min(len(system), len(than)):
        return _welch(list(system.values()), list(than.values()))
    if common:
        scale = max(abs(than[seed]) for seed in common)
        return _mean([system[seed] - than[seed] for seed in common], scale, PAIRED)
    value = float(np.mean(list(system.values())) - np.mean(list(than.values())))
    return Effect(value, math.nan, 0, 1, ONE_SEED)


def exact(value: float) -> Effect:
    """A difference without any noise, such as of parameter counts."""
    return Effect(value, 0.0, math.inf, 1, EXACT)


def half_width(effect: Effect, rate: float) -> float:
    """Half the width of Student's interval of confidence 1 - rate; NaN where it is unknown."""
    if effect.se == 0 or not effect.known:
        return effect.se
    return -float(stdtrit(effect.df, rate / 2)) * effect.se


def level(effect: Effect, depth: float) -> float:
    """The least rate whose interval does not reach a bound that lies `depth` away; 1 if none.

    That is the two-sided p-value of the bound, and 1 if it lies on the other side (depth <= 0).
    """
    if depth <= 0 or not effect.known:
        return 1.0
    return 2 * float(stdtr(effect.df, -depth / effect.se)) if effect.se else 0.0


def with_seeds(effect: Effect, number: int) -> Effect:
    """The effect of so many seeds if it and its spread stay what they are."""
    if effect.se == 0 or not effect.known:
        return effect
    se = effect.se * math.sqrt(effect.num_seeds / number)
    df = effect.df * (number - 1) / (effect.num_seeds - 1)
    return replace(effect, se=se, df=df, num_seeds=number)


def _mean(differences: list[float], scale: float, test: str) -> Effect:
    """The mean of differences of numbers of the size `scale`."""
    value, number = float(np.mean(differences)), len(differences)
    if number == 1:
        return Effect(value, math.nan, 0, 1, ONE_SEED)
    if np.ptp(differences) <= ROUNDING * abs(scale):
        return Effect(value, math.nan, 0, number, ALIKE)
    se = float(np.std(differences, ddof=1)) / math.sqrt(number)
    return Effect(value, se, number - 1, number, test)


def _welch(a: list[float], b: list[float]) -> Effect:
    """The difference of means; degrees of freedom are those of the smaller side.

    With these the interval covers whatever the two variances are (Mickey and Brown 1966); Welch's
    own estimate of them misses twice as often as it says where a side of two seeds varies most.
    """
    value, number = float(np.mean(a) - np.mean(b)), min(len(a), len(b))
    if max(np.ptp(a), np.ptp(b)) <= ROUNDING * float(np.max(np.abs([*a, *b]))):
        return Effect(value, math.nan, 0, number, ALIKE)
    square = sum(float(np.var(side, ddof=1)) / len(side) for side in (a, b))
    return Effect(value, math.sqrt(square), number - 1, number, WELCH)
