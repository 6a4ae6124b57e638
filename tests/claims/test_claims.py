"""Claims: the verdicts that made-up results of known truth get, one by one and together."""

import math
import shutil
from typing import Any

import numpy as np
import pytest

from made_up_claims import ALPHA, add_system, against, all_found, claim, found, set_score
from nextbasis.claims import effects
from nextbasis.claims.ledger import claims_layout
from nextbasis.claims.verdict import (
    CONTRADICTED,
    NO_EFFECT,
    NOT_TESTED,
    REPRODUCED,
    UNDECIDED,
)
from nextbasis.claims.words import verdict_text


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        ([-1.0, -1.1, -0.9], REPRODUCED),
        ([1.0, 1.1, 0.9], CONTRADICTED),
        ([-0.01, 0.02, -0.03], NO_EFFECT),  # the published effect is 4.1 % of 5, or 0.21
        ([-0.1, 0.2, -0.3], UNDECIDED),
    ],
)
def test_known_truth_gets_its_verdict(
    tree: dict[str, Any], difference: list[float], expected: str
) -> None:
    base = [5.0, 6.0, 4.0]
    set_score({"a": base, "a_bar": [b + d for b, d in zip(base, difference, strict=True)]})
    finding = found(tree, claim())
    assert finding.verdict == expected
    (comparison,) = finding.comparisons
    assert comparison.effect.value == pytest.approx(np.mean(difference))
    assert comparison.effect.test == effects.PAIRED
    assert comparison.published == pytest.approx(1.63 - 1.7)
    assert comparison.margin == pytest.approx(5 * 0.07 / 1.7)
    assert (finding.seeds > 3) == (expected == UNDECIDED)


def test_verdicts_read_as_sentences(tree: dict[str, Any]) -> None:
    base = [5.0, 6.0, 4.0]
    read = "reading r0 of constant weight, the only one tried"
    for moved, said in (
        ([-1.0, -1.1, -0.9], f"reproduced ({read})"),
        ([-0.01, 0.02, -0.03], f"no effect larger than 4.1% of the baseline's FID ({read})"),
        ([-0.1, 0.2, -0.3], f"undecided ({read}; about 16 seeds would decide at today's spread)"),
    ):
        set_score({"a": base, "a_bar": [b + d for b, d in zip(base, moved, strict=True)]})
        assert verdict_text(found(tree, claim())) == said
    lone = claim() | {"compare": [against("b_bar", "b")]}
    assert verdict_text(found(tree, lone)) == f"undecided ({read}; one seed decides nothing)"
    both = claim()
    both["compare"] += [against("b_bar", "b", published=["P/main/b_bar", "P/main/b"])]
    partly = f"undecided ({read}; 1 of 2 comparisons: one seed decides nothing)"
    set_score({"a_bar": [4.0, 5.1, 2.9]})
    assert verdict_text(found(tree, both)) == partly


def test_no_effect_in_several_comparisons_names_all_their_margins(tree: dict[str, Any]) -> None:
    add_system(tree, "c", basis="identity")
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [5.01, 5.99, 4.0], "c": [5.0, 6.01, 3.99]})
    both = claim()
    both["compare"] += [against("a_bar", "c", published=["P/main/b_bar", "P/main/b"])]
    text = verdict_text(found(tree, both))
    assert text.startswith("no effect larger than the published 4.1% to 5% of the baselines' FID")


def test_claim_of_every_kind(tree: dict[str, Any]) -> None:
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [6.0, 7.01, 4.99]})
    assert found(tree, claim("above")).verdict == REPRODUCED
    assert found(tree, claim("equal", tolerance=1.5)).verdict == REPRODUCED
    assert found(tree, claim("equal", tolerance=0.5)).verdict == CONTRADICTED
    assert found(tree, claim("equal", tolerance=1.01)).verdict == UNDECIDED
    one = claim("ratio", tolerance=0.05)
    one["compare"] = [{"metric": "params", "system": "a_bar", "than": "a"}]
    assert found(tree, one).verdict == REPRODUCED  # a thousandth more parameters
    assert found(tree, one | {"tolerance": 1e-9}).verdict == CONTRADICTED
    value = claim("equal", tolerance=0.5)
    value["compare"] = [{"metric": "fid", "system": "a", "than_published": "P/main/a"}]
    (comparison,) = found(tree, value).comparisons
    assert comparison.effect.value == pytest.approx(5 - 1.7)
    assert comparison.effect.test == effects.ONE_SAMPLE


def test_what_this_scale_cannot_test_is_no_verdict(tree: dict[str, Any]) -> None:
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [4.0, 5.01, 2.99]})
    large = found(tree, claim(scale="large"))
    assert (large.verdict, large.reasons) == (NOT_TESTED, ["decidable from scale large"])
    assert large.comparisons[0].effect.value == pytest.approx(-1) and large.decisive is None
    needs = found(tree, claim() | {"compare": [], "needs": "text"})
    assert (needs.verdict, needs.reasons) == (NOT_TESTED, ["needs text"])
    both = claim() | {"differ": ["system"]}
    both["compare"] += [against("elsewhere", "a")]
    partly = found(tree, both)
    assert (partly.verdict, partly.reasons) == (NOT_TESTED, ["elsewhere against a"])
    set_score({"a_bar": [6.0, 7.01, 4.99]})  # one comparison is enough to contradict
    assert found(tree, both).verdict == CONTRADICTED
    speed = claim("above")
    speed["compare"] = [{"metric": "images_per_second", "system": "b_bar", "than": "b"}]
    assert found(tree, speed).comparisons[0].effect.test == effects.ONE_SEED


def test_every_tested_claim_makes_the_others_harder(tree: dict[str, Any]) -> None:
    """Those that cannot be tested do not."""
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [4.0, 5.4, 3.4]})  # by itself at a level of 3 %
    alone = found(tree, claim())
    assert alone.verdict == REPRODUCED and alone.rate == ALPHA
    lone = claim() | {"compare": [against("b_bar", "b")]}
    one, two, three = all_found(tree, {"one": claim(), "two": lone, "three": claim()})
    assert one.verdict == three.verdict == UNDECIDED
    assert one.rate == three.rate == ALPHA / 2 and math.isnan(two.rate)


def test_the_printed_interval_is_the_one_that_decided(tree: dict[str, Any]) -> None:
    """Six comparisons: the interval of 95 % excludes zero, that of 99.17 % does not."""
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [6.0, 6.75, 5.25]})
    six = claim() | {"compare": claim()["compare"] * 6}
    finding = found(tree, six)
    assert finding.verdict == UNDECIDED
    (row,) = claims_layout([finding], ALPHA, ([], "")).tidy
    assert row["low"] > 0 > row["low_deciding"]
    assert row["confidence_deciding"] == pytest.approx(1 - ALPHA / 6)
    set_score({"a_bar": [6.0, 6.9, 5.1]})
    finding = found(tree, six)
    (row,) = claims_layout([finding], ALPHA, ([], "")).tidy
    assert finding.verdict == CONTRADICTED and row["low_deciding"] > 0


def test_readings_are_named_and_count(tree: dict[str, Any]) -> None:
    base, better = [5.0, 6.0, 4.0], [4.0, 5.4, 3.4]
    set_score({"a": base, "a_bar": better})
    one = found(tree, claim())
    assert one.verdict == REPRODUCED and one.parts[0].num_readings == 1
    for number, objective in enumerate(("l_bar", "r2", "r4")):
        add_system(tree, f"r{number}", overrides=f"basis.objective={objective}")
    set_score({"a": base, "a_bar": better})
    counted = found(tree, claim())
    assert counted.verdict == UNDECIDED and counted.parts[0].num_readings == 4
    assert "reading r0 of constant weight, 4 tried" in verdict_text(counted)
    assert len(counted.comparisons) == 1  # they count, although the claim does not rest on them


def test_one_reading_is_enough_and_all_are_needed_against_it(tree: dict[str, Any]) -> None:
    base, worse, better = [5.0, 6.0, 4.0], [6.0, 7.01, 5.01], [4.0, 5.01, 3.01]
    add_system(tree, "other", overrides="basis.objective=r4")
    one = claim() | {"compare": [against("a_bar", "a", readings=["other"])]}
    for values, expected, read in (
        ({"a_bar": worse, "other": better}, REPRODUCED, "reading r4, 2 tried"),
        ({"a_bar": worse, "other": [5.1, 5.9, 3.9]}, UNDECIDED, "reading r4, 2 tried"),
        ({"a_bar": worse, "other": worse}, CONTRADICTED, "reading r0 of constant weight, 2 tried"),
    ):
        set_score({"a": base} | values)
        finding = found(tree, one)
        assert finding.verdict == expected and len(finding.comparisons) == 2
        assert read in verdict_text(finding)


def test_readings_that_are_extra_count_and_are_not_needed(tree: dict[str, Any]) -> None:
    add_system(tree, "other", overrides="basis.objective=r4")
    for key in ("other", "other_s1", "other_s2"):
        tree["small"]["evals"][key]["extra"] = True
        shutil.rmtree(f"results/small/score/{key}")
    one = claim() | {"compare": [against("a_bar", "a", readings=["other"])]}
    finding = found(tree, one)
    assert len(finding.comparisons) == 1 and finding.parts[0].num_readings == 2
