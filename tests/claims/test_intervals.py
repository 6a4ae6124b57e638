"""Intervals, verdicts and their error rates, on made-up effects whose truth is known."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from nextbasis.claims import effects
from nextbasis.claims.effects import Effect, difference, half_width, level, with_seeds
from nextbasis.claims.verdict import (
    CONTRADICTED,
    NO_EFFECT,
    REPRODUCED,
    UNDECIDED,
    Levels,
    Region,
    all_of,
    any_of,
    holm,
    levels,
    seeds_needed,
)

BELOW = Region(-math.inf, 0)
ALPHA, EXPERIMENTS, REPORTS = 0.05, 2000, 400


def limit(rate: float, experiments: int) -> float:
    """A rate of at most `rate` is found above it in less than one of a thousand tests."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / experiments)


def paired(rng: np.random.Generator, truth: float, seeds: int, sd: float = 1.0) -> Effect:
    """Two systems whose runs of a seed share most of their noise; `sd` is of the difference."""
    shared, noise = 10 * rng.normal(size=seeds), sd * rng.normal(size=(2, seeds)) / math.sqrt(2)
    a = dict(enumerate(shared + noise[0] + truth))
    return difference(a, dict(enumerate(shared + noise[1])))


def drawn(rng: np.random.Generator, truth: float, seeds: int) -> Effect:
    """The effect of differences that deviate by 1, from the distributions of mean and variance."""
    sd = math.sqrt(rng.chisquare(seeds - 1) / (seeds - 1))
    value = truth + rng.normal() / math.sqrt(seeds)
    return Effect(value, sd / math.sqrt(seeds), seeds - 1, seeds, effects.PAIRED)


def unpaired(
    rng: np.random.Generator, truth: float, seeds: tuple[int, int], sds: tuple[float, float]
) -> Effect:
    a, b = (sd * rng.normal(size=number) for sd, number in zip(sds, seeds, strict=True))
    return difference(dict(enumerate(a + truth)), {100 + i: value for i, value in enumerate(b)})


def misses(found: list[Effect], truth: float) -> float:
    return float(np.mean([abs(each.value - truth) > half_width(each, ALPHA) for each in found]))


def is_false(verdict: str, truth: float, margin: float) -> bool:
    """Of a claim that the effect lies below zero. At zero neither sign is found."""
    return {
        REPRODUCED: truth >= 0,
        CONTRADICTED: truth <= 0,
        NO_EFFECT: abs(truth) >= margin,
        UNDECIDED: False,
    }[verdict]


def test_intervals_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 1, 4), rng.normal(0, 2, 4)
    cases = [
        (difference(dict(enumerate(a)), dict(enumerate(b))), scipy.stats.ttest_rel(a, b), 0),
        (difference(dict(enumerate(a)), 0.3), scipy.stats.ttest_1samp(a, 0.3), 0.3),
    ]
    for effect, reference, shift in cases:
        low, high = reference.confidence_interval(0.95)
        half = half_width(effect, 0.05)
        assert effect.value + shift - half == pytest.approx(low, abs=1e-9)
        assert effect.value + shift + half == pytest.approx(high, abs=1e-9)
        assert level(effect, abs(effect.value)) == pytest.approx(reference.pvalue)
    effect = difference(dict(enumerate(a)), {9 + i: value for i, value in enumerate(b)})
    reference = scipy.stats.ttest_ind(a, b, equal_var=False)
    assert effect.value / effect.se == pytest.approx(reference.statistic)
    assert effect.df == 3 < reference.df  # fewer than Welch's own


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_printed_interval_of_paired_seeds_covers_as_often_as_it_says(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    rate = misses([paired(rng, 0.7, seeds) for _ in range(EXPERIMENTS)], 0.7)
    assert abs(rate - ALPHA) <= limit(ALPHA, EXPERIMENTS) - ALPHA


@pytest.mark.parametrize("sds", [(1.0, 1.0), (1.0, 4.0), (4.0, 1.0)])
@pytest.mark.parametrize("seeds", [(2, 2), (2, 5), (3, 3), (3, 5)])
def test_interval_covers_whatever_the_variances(
    seeds: tuple[int, int], sds: tuple[float, float]
) -> None:
    rng = np.random.default_rng(1)
    found = [unpaired(rng, 0.7, seeds, sds) for _ in range(EXPERIMENTS)]
    assert {each.test for each in found} == {effects.WELCH}
    assert misses(found, 0.7) <= limit(ALPHA, EXPERIMENTS)


def test_a_system_that_varies_more_than_others_gets_its_own_spread() -> None:
    """A spread pooled over systems gave false verdicts for the ones that vary twice as much."""
    rng = np.random.default_rng(5)
    for sd in (0.1, 1.0, 10.0):
        assert misses([paired(rng, 0, 3, sd) for _ in range(EXPERIMENTS)], 0) <= limit(
            ALPHA, EXPERIMENTS
        )


@pytest.mark.parametrize("value", [-1e9, -1e-9, 0.0, 1e9])
def test_one_seed_decides_nothing_in_either_direction(value: float) -> None:
    for system, than in (
        ({0: value}, {0: 0.0}),
        ({0: value}, {1: 0.0}),
        ({0: value}, {1: 0.0, 2: 0.1, 3: -0.1}),  # one against three of other seeds
        ({0: value, 1: value + 1}, {0: 0.0}),
        ({0: value}, 0.0),
    ):
        effect = difference(system, than)
        assert effect.test == effects.ONE_SEED and not effect.known
        assert levels(effect, BELOW, 1e12) == Levels()
        assert Levels().decide(0.999) == UNDECIDED


@pytest.mark.parametrize("by", [0.0, 0.25, -0.1])
def test_equal_differences_are_no_proof(by: float) -> None:
    """Their spread is not zero but unknown, also where it is only rounding."""
    values = {0: 0.1, 1: 0.2, 2: 0.7}
    moved = {seed: value + by for seed, value in values.items()}
    found = [difference(moved, values), difference(dict.fromkeys(values, 3.0), 3.0 - by)]
    found.append(difference({0: 5.0, 1: 5.0}, {2: 5.0 - by, 3: 5.0 - by}))
    for effect in found:
        assert effect.test == effects.ALIKE and effect.value == pytest.approx(by)
        assert levels(effect, BELOW, 1.0).decide(0.999) == UNDECIDED


def test_exact_numbers_are_decided_without_seeds() -> None:
    assert levels(effects.exact(-1e-9), BELOW, 0.0).decide(1e-12) == REPRODUCED
    assert levels(effects.exact(0.02), Region(-0.01, 0.01), 0.0).decide(1e-12) == CONTRADICTED


@given(
    st.floats(-5, 5),
    st.floats(0.01, 5),
    st.integers(1, 1000),
    st.floats(0.001, 0.9),
    st.floats(0, 3),
)
def test_the_interval_at_a_rate_is_the_one_that_decides_at_it(
    value: float, se: float, df: int, rate: float, margin: float
) -> None:
    effect = Effect(value, se, df, df + 1, "")
    half = half_width(effect, rate)
    low, high = value - half, value + half
    said = levels(effect, BELOW, margin).decide(rate)
    if min(map(abs, (low, high, low + margin, high - margin))) < 1e-6:
        return  # at a bound rounding decides
    if high < 0:
        assert said == REPRODUCED
    elif low > 0:
        assert said == CONTRADICTED
    elif -margin < low and high < margin:
        assert said == NO_EFFECT
    else:
        assert said == UNDECIDED


@pytest.mark.parametrize("truth", [-1.0, -1e-12, 0.0, 1.0, 3.0])
def test_false_verdicts_of_a_claim_are_as_rare_as_promised(truth: float) -> None:
    """At zero, at the margin (of 1) and outside of it."""
    rng = np.random.default_rng(7)
    for seeds in (2, 3, 10):
        found = [
            levels(drawn(rng, truth, seeds), BELOW, 1.0).decide(ALPHA) for _ in range(EXPERIMENTS)
        ]
        wrong = sum(is_false(each, truth, 1.0) for each in found)
        assert wrong / EXPERIMENTS <= limit(ALPHA, EXPERIMENTS)


def test_margin_of_a_measured_baseline_keeps_the_rate() -> None:
    """x is per cent of a mean over seeds that is itself uncertain; the truth lies at the margin."""
    rng, wrong, share = np.random.default_rng(8), 0, 0.05
    for _ in range(EXPERIMENTS):
        base = 6 + 0.3 * rng.normal(size=5)
        system = base + share * 6 + 0.08 * rng.normal(size=5)
        effect = difference(dict(enumerate(system)), dict(enumerate(base)))
        small = levels(effect, BELOW, share * float(base.mean())).small
        wrong += small <= ALPHA
    assert wrong / EXPERIMENTS <= limit(ALPHA, EXPERIMENTS)


def test_enough_seeds_find_no_effect() -> None:
    """The fourth verdict is within reach: five seeds, an effect of none, a spread of a quarter."""
    rng = np.random.default_rng(9)
    found = [
        levels(paired(rng, 0, 5, 0.25), BELOW, 1.0).decide(ALPHA / 20) for _ in range(EXPERIMENTS)
    ]
    assert found.count(NO_EFFECT) / EXPERIMENTS > 0.5


@pytest.mark.parametrize("truths", [(0.0,), (-1e-12, 1e-12), (1.0, -1.0), (0.0, -9.0, 1.0, 9.0)])
def test_a_report_has_a_false_verdict_as_rarely_as_promised(truths: tuple[float, ...]) -> None:
    """Twenty claims, of three seeds each; without Holm most reports would have one."""
    rng = np.random.default_rng(10)
    false = alone = 0
    for _ in range(REPORTS):
        true = [truths[place % len(truths)] for place in range(20)]
        found = [levels(drawn(rng, truth, 3), BELOW, 1.0) for truth in true]
        rates = holm([each.least for each in found], ALPHA)
        pairs = list(zip(found, true, strict=True))
        said = [each.decide(rate) for each, rate in zip(found, rates, strict=True)]
        false += any(is_false(text, truth, 1.0) for text, truth in zip(said, true, strict=True))
        alone += any(is_false(each.decide(ALPHA), truth, 1.0) for each, truth in pairs)
    assert false / REPORTS <= limit(ALPHA, REPORTS)
    if truths == (0.0,):
        assert alone / REPORTS > 0.5


def test_another_machine_turns_no_verdict_around() -> None:
    """Trainings on two machines that differ by as much as two seeds do: the signs agree."""
    rng = np.random.default_rng(11)
    turned = 0
    for _ in range(REPORTS):
        true = rng.normal(size=20)
        said = []
        for _ in range(2):  # machines
            found = [levels(drawn(rng, truth, 3), BELOW, 0.5) for truth in true]
            rates = holm([each.least for each in found], ALPHA)
            said.append([each.decide(rate) for each, rate in zip(found, rates, strict=True)])
        decided = {REPRODUCED, CONTRADICTED}
        turned += any({*pair} == decided for pair in zip(*said, strict=True))
    assert turned / REPORTS <= limit(0.01, REPORTS)


def test_holms_rates_are_those_of_its_definition() -> None:
    assert holm([0.001, 0.01, 0.2, 0.012], 0.05) == [0.05 / 4, 0.05 / 3, 0.05, 0.05 / 2]
    assert holm([0.001, 0.02, 0.2, 0.021], 0.05) == [0.05 / 4, *[0.05 / 3] * 3]  # one stops it
    assert holm([0.5, 0.0], 0.05) == [0.05, 0.025] and holm([], 0.05) == []


def test_error_rate_of_a_claim_with_many_comparisons_is_kept() -> None:
    rng = np.random.default_rng(2)
    refuted = established = 0
    for _ in range(EXPERIMENTS):
        true = [levels(drawn(rng, -1e-9, 3), BELOW, 0.0) for _ in range(6)]
        refuted += all_of(true).decide(ALPHA) == CONTRADICTED
        false = [levels(drawn(rng, -50.0, 3), BELOW, 0.0) for _ in range(5)]
        false.append(levels(drawn(rng, 1e-9, 3), BELOW, 0.0))
        established += all_of(false).decide(ALPHA) == REPRODUCED
    assert refuted / EXPERIMENTS <= limit(ALPHA, EXPERIMENTS)
    assert 0 < established / EXPERIMENTS <= limit(ALPHA, EXPERIMENTS)


def test_error_rate_of_a_claim_with_many_readings_is_kept() -> None:
    """The best of eight readings without an effect; and one of eight that has it, among none."""
    rng = np.random.default_rng(4)
    established = refuted = lucky = 0
    for _ in range(EXPERIMENTS):
        none = [levels(drawn(rng, 0.0, 3), BELOW, 0.0) for _ in range(8)]
        established += any_of(none, 8).decide(ALPHA) == REPRODUCED
        lucky += any_of(none, 1).decide(ALPHA) == REPRODUCED
        worse = [levels(drawn(rng, 50.0, 3), BELOW, 0.0) for _ in range(7)]
        worse.append(levels(drawn(rng, -1e-9, 3), BELOW, 0.0))
        refuted += any_of(worse, 8).decide(ALPHA) == CONTRADICTED
    assert established / EXPERIMENTS <= limit(ALPHA, EXPERIMENTS) < lucky / EXPERIMENTS
    assert 0 < refuted / EXPERIMENTS <= limit(ALPHA, EXPERIMENTS)


@pytest.mark.parametrize("distance", [0.05, 0.3, 1.0, 5.0])
def test_seeds_needed_is_the_least_number(distance: float) -> None:
    effect = Effect(-distance, 1 / math.sqrt(3), 2, 3, effects.PAIRED)

    def least(number: int) -> float:
        return levels(with_seeds(effect, number), BELOW, 0.0).least

    def decides(number: int) -> bool:
        return scipy.stats.t.ppf(0.975, number - 1) / math.sqrt(number) < distance

    expected = next(number for number in range(2, 10_000) if decides(number))
    assert seeds_needed(least, 0.05, 10_000) == expected
    assert with_seeds(effect, 3) == effect
    assert seeds_needed(lambda number: 1.0, 0.05, 10_000) == 0


def test_seeds_needed_may_be_those_that_find_no_effect() -> None:
    effect = Effect(0.01, 1 / math.sqrt(3), 2, 3, effects.PAIRED)

    def needed(margin: float) -> int:
        return seeds_needed(
            lambda number: levels(with_seeds(effect, number), BELOW, margin).least, 0.05, 10**6
        )

    assert needed(1.0) < 10 < 10_000 < needed(0.0)


def test_claims_need_no_torch() -> None:
    program = "import nextbasis.claims.__main__, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
