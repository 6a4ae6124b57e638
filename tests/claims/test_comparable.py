"""What decides nothing: the same samples, other processors, budgets or numbers of images."""

from pathlib import Path
from typing import Any

import pytest

from made_up_claims import against, claim, found, set_score
from nextbasis.claims.verdict import (
    CONTRADICTED,
    NOT_TESTED,
    REPRODUCED,
    SAME_RUN,
    UNDECIDED,
)
from nextbasis.claims.words import verdict_text
from nextbasis.support.files import read_json, write_json


def set_samples(hashes: dict[str, str], images: int = 2000) -> None:
    """What the score stage records of the samples of an evaluation."""
    for key, text in hashes.items():
        path = Path(f"results/small/score/{key}/score.json")
        score = read_json(path)
        score["protocol"] |= {"samples_sha256": text, "num_images": images}
        write_json(path, score)


def test_identical_samples_are_the_same_run(tree: dict[str, Any]) -> None:
    """Whatever the clamp is called: what it never changed cannot be compared."""
    keys = [f"{system}{suffix}" for system in ("a", "a_bar") for suffix in ("", "_s1", "_s2")]
    set_samples({key: key.rpartition("_s")[2] for key in keys} | {"a": "0", "a_bar": "0"})
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [5.0, 6.0, 4.0]})
    finding = found(tree, claim())
    assert finding.verdict == SAME_RUN and not finding.tested
    assert verdict_text(finding) == "same run (a_bar and a made the same samples)"
    set_samples({"a_bar_s2": "another"})
    assert found(tree, claim()).verdict == UNDECIDED  # one seed differs: it is compared
    set_samples({"b": "0", "b_bar": "0"})
    lone = claim() | {"compare": [against("b_bar", "b")]}
    assert found(tree, lone).verdict == SAME_RUN  # one seed is enough to see it
    speed = lone | {"compare": [against("b_bar", "b", metric="images_per_second")]}
    assert found(tree, speed).verdict == UNDECIDED  # the same samples may take other times


def test_without_hashes_equal_scores_are_the_same_run(tree: dict[str, Any]) -> None:
    for metric in ("fid", "is_mean", "precision", "recall"):
        numbers = [5.0, 6.0, 4.0] if metric == "fid" else [0.3, 0.4, 0.5]
        set_score({"a": numbers, "a_bar": numbers}, metric=metric)
    assert found(tree, claim()).verdict == SAME_RUN
    set_score({"a_bar": [0.3, 0.4, 0.501]}, metric="recall")
    finding = found(tree, claim())  # equal FIDs of other samples
    assert finding.verdict == UNDECIDED
    assert "all seeds differ by the same, which tells no spread" in verdict_text(finding)


def test_one_comparison_of_a_claim_can_be_the_same_run(tree: dict[str, Any]) -> None:
    set_samples({"b": "0", "b_bar": "0"})
    both = claim() | {"compare": [*claim()["compare"], against("b_bar", "b")]}
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [4.0, 5.01, 2.99]})
    assert found(tree, both).verdict == SAME_RUN
    assert found(tree, both).decisive.best.label == "b_bar against b"
    set_score({"a_bar": [6.0, 7.01, 4.99]})
    assert found(tree, both).verdict == CONTRADICTED


def test_speeds_of_two_processors_decide_nothing(tree: dict[str, Any]) -> None:
    speed = claim("above")
    speed["compare"] = [against("a_bar", "a", metric="images_per_second")]
    keys = [f"{system}{suffix}" for system in ("a", "a_bar") for suffix in ("", "_s1", "_s2")]
    for key, value in zip(keys, (64, 70, 67, 91, 98, 93), strict=True):
        path = Path(f"results/small/sample/{key}/speed.json")
        write_json(path, read_json(path) | {"images_per_second": value})
    assert found(tree, speed).verdict == REPRODUCED
    path = Path("results/small/sample/a_s1/speed.json")  # one seed is enough
    write_json(path, read_json(path) | {"processor": "slide rule"})
    finding = found(tree, speed)
    assert finding.verdict == UNDECIDED and not finding.tested
    assert "timed on abacus and slide rule" in verdict_text(finding)
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [4.0, 5.01, 2.99]})
    assert found(tree, claim()).verdict == REPRODUCED  # scores do not mind


def test_budgets_of_a_claim_are_never_mixed(tree: dict[str, Any]) -> None:
    for key in ("a_bar", "a_bar_s1", "a_bar_s2"):
        path = Path(f"results/small/train/{key}/metrics.json")
        write_json(path, read_json(path) | {"steps": 5_400, "images_seen": 172_800})
    message = r"claims.one: a_bar \(172,800 images in 5,400 steps\) and a \(17,280 images in 540"
    with pytest.raises(ValueError, match=message):
        found(tree, claim())
    assert found(tree, claim() | {"differ": ["basis", "train"]}).verdict


def test_unequal_numbers_of_images_decide_only_against_their_bias(tree: dict[str, Any]) -> None:
    """Fewer images raise the FID: a side that is the lower one in spite of it is lower."""
    low, high = [4.0, 5.01, 2.99], [5.0, 6.0, 4.0]
    set_score({"a": high}, images=5000)
    set_score({"a_bar": low}, images=2000)
    assert found(tree, claim()).verdict == REPRODUCED
    set_score({"a": low}, images=5000)
    set_score({"a_bar": high}, images=2000)
    finding = found(tree, claim())
    assert finding.verdict == UNDECIDED and "2,000 and 5,000 images" in verdict_text(finding)


def test_kid_is_compared_whatever_the_numbers_of_images(tree: dict[str, Any]) -> None:
    """Its expectation does not depend on them; it may be below zero, so it has no ratios."""
    one = claim()
    one["compare"] = [{"metric": "kid", "system": "a_bar", "than": "a"}]
    assert found(tree, one).verdict == NOT_TESTED  # the made-up scores have none
    set_score({"a": [0.002, 0.003, 0.001]}, images=2000, metric="kid")
    set_score({"a_bar": [-0.001, 1e-5, -0.00201]}, images=5000, metric="kid")
    finding = found(tree, one)
    assert finding.verdict == REPRODUCED
    assert finding.comparisons[0].effect.value == pytest.approx(-0.003)
    with pytest.raises(ValueError, match="kind 'ratio' needs a metric .* positive; got 'kid'"):
        found(tree, one | {"kind": "ratio", "tolerance": 0.1})
