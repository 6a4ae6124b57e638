"""From effects to verdicts: what an interval says, what several say together, and Holm's rates.

Every verdict is a sentence that holds at each point of one interval: the effect lies in the region
of the claim (reproduced), or outside of it (contradicted), or it is smaller than a margin (no
effect larger than x, two one-sided tests). So a verdict is false only if that interval misses the
truth, whatever the truth is. Each is kept as the least rate of error at which its interval decides
(its level, a p-value): several are combined by least and largest levels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nextbasis.claims.effects import Effect, level

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
NO_EFFECT = "no effect larger than published"
VERDICTS = (REPRODUCED, CONTRADICTED, NO_EFFECT, UNDECIDED)
SAME_RUN, NOT_TESTED = "same run", "not tested"  # no verdicts


@dataclass(frozen=True)
class Region:
    """Where an effect lies if the claim holds: strictly between two bounds."""

    low: float
    high: float

    def depth(self, value: float) -> float:
        """How deep inside the region a value lies; negative outside."""
        return min(value - self.low, self.high - value)


@dataclass(frozen=True)
class Levels:
    """The least rates of error at which each verdict is reached; 1 where none is."""

    reproduced: float = 1.0
    contradicted: float = 1.0
    small: float = 1.0  # no effect larger than the margin

    @property
    def least(self) -> float:
        """The rate from which on there is a verdict."""
        return min(self.reproduced, self.contradicted, self.small)

    def decide(self, rate: float) -> str:
        """The verdict at a rate of error; of two that hold, the one about the claim itself."""
        if self.reproduced <= rate:
            return REPRODUCED
        if self.contradicted <= rate:
            return CONTRADICTED
        return NO_EFFECT if self.small <= rate else UNDECIDED


def levels(effect: Effect, region: Region, margin: float) -> Levels:
    """What one effect says about a claim; a margin of 0 is none."""
    depth = region.depth(effect.value)
    small = Region(-margin, margin).depth(effect.value)
    return Levels(level(effect, depth), level(effect, -depth), level(effect, small))


def any_of(readings: Sequence[Levels], tried: int) -> Levels:
    """Of a claim that holds if one of its readings does, when `tried` were tried in all.

    The best of so many is reproduced by chance so many times as often (Bonferroni); the claim is
    contradicted, or of no effect, only where all its readings are.
    """
    return Levels(
        min(1.0, tried * min(each.reproduced for each in readings)),
        max(each.contradicted for each in readings),
        max(each.small for each in readings),
    )


def all_of(parts: Sequence[Levels]) -> Levels:
    """Of a claim that holds if all its parts do: one of them is enough to contradict it.

    That one is the worst of all (Bonferroni); to reproduce it takes all (intersection-union).
    """
    return Levels(
        max(each.reproduced for each in parts),
        min(1.0, len(parts) * min(each.contradicted for each in parts)),
        max(each.small for each in parts),
    )


def holm(least: Sequence[float], alpha: float) -> list[float]:
    """The rate of error that each of several tests is judged at (Holm 1979, step-down).

    The test of the least level gets alpha by the number of tests, the next alpha by one less, and
    so on until one is not decided; its rate is that of all that follow. One or more false verdicts
    among all then have a probability of at most alpha.
    """
    found, rate, open_ = [0.0] * len(least), 0.0, True
    for rank, place in enumerate(sorted(range(len(least)), key=least.__getitem__)):
        if open_:
            rate = alpha / (len(least) - rank)
        open_ = open_ and least[place] <= rate
        found[place] = rate
    return found


def seeds_needed(least: Callable[[int], float], rate: float, most: int) -> int:
    """The least number of seeds of which `least` gives a level of at most `rate`.

    `most` if it takes more; 0 if no number does, or the spread is unknown.
    """
    if least(most) > rate:
        return most if least(most) < 1 else 0
    low, high = 1, most
    while high - low > 1:  # levels fall with every seed
        middle = (low + high) // 2
        low, high = (low, middle) if least(middle) <= rate else (middle, high)
    return high
