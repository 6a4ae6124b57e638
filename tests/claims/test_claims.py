"""Claims: what made-up results of known truth are found to say, in words and in files."""

import csv
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nextbasis.claims import __main__ as stage
from nextbasis.claims import effects
from nextbasis.claims.evaluate import evaluate
from nextbasis.claims.finding import Finding
from nextbasis.claims.inputs import CLAIMS, check_claims, claim_inputs, load_claims
from nextbasis.claims.ledger import claims_layout
from nextbasis.claims.verdict import (
    CONTRADICTED,
    NO_EFFECT,
    NOT_TESTED,
    REPRODUCED,
    SAME_RUN,
    UNDECIDED,
)
from nextbasis.claims.words import verdict_text
from nextbasis.pipeline import catalog as catalogs
from nextbasis.support.files import read_json, write_json
from nextbasis.tables import inputs, published
from results_tree import build, small_repository

REPOSITORY = Path(__file__).parents[2]
CATALOG = catalogs.load_catalog(REPOSITORY)
LEDGER = load_claims(REPOSITORY / CLAIMS)
ALPHA = 0.05


def claim(kind: str = "below", scale: str = "small", **rest: Any) -> dict[str, Any]:
    pair = {"metric": "fid", "system": "a_bar", "than": "a"}
    pair |= {"published": ["P/main/a_bar", "P/main/a"]}
    common = {"source": "P", "statement": "A basis helps A.", "decidable_from": scale}
    common["differ"] = ["basis"]
    return {"kind": kind, "compare": [pair], **common, **rest}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Made-up results in a temporary folder; the catalog."""
    return small_repository(tmp_path, monkeypatch)


def set_score(values: dict[str, list[float]], images: int = 2000, metric: str = "fid") -> None:
    """Overwrite a metric of systems, seed by seed."""
    for system, numbers in values.items():
        for seed, number in enumerate(numbers):
            path = Path(f"results/small/score/{system}{f'_s{seed}' if seed else ''}/score.json")
            score = read_json(path)
            score["values"][metric] = number
            score["protocol"]["num_images"] = images
            write_json(path, score)


def all_found(tree: dict[str, Any], claims: dict[str, Any]) -> list[Finding]:
    ledger = {"alpha": ALPHA, "claims": claims}
    check_claims(ledger, tree)
    return evaluate(ledger, tree, "small", published.load(Path("config/published.csv")))


def found(tree: dict[str, Any], one: dict[str, Any]) -> Finding:
    return all_found(tree, {"one": one})[0]


def against(system: str, than: str, **rest: Any) -> dict[str, Any]:
    return {"metric": "fid", "system": system, "than": than} | rest


def add_system(tree: dict[str, Any], name: str, **run: Any) -> None:
    """A system of family xar with three seeds."""
    part = tree["small"]
    for seed in range(3):
        key = f"{name}_s{seed}" if seed else name
        part["runs"][key] = {"family": "xar", "basis": "bar", "tokens": "kl"} | run
        part["evals"][key] = {"run": key, "system": name, "seed": seed, "images": 2000}
        part["evals"][key]["tokens"] = "kl"
    build(Path(), tree, "small")


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


def test_conflicts_of_the_papers_are_computed(tree: dict[str, Any]) -> None:
    pair = {"about": "FID", "between": [["P/main/a", "fid"], ["P/main/a_bar", "fid"]]}
    finding = found(tree, claim("above", conflicts=[pair]))
    assert finding.conflicts[0] == "FID: 1.7 (P main) against 1.63 (P main)"
    assert "contradict it themselves: a_bar against a is -0.07" in finding.conflicts[1]
    pair["between"][1] = pair["between"][0]
    with pytest.raises(ValueError, match="claims.one: both numbers of 'FID' are 1.7"):
        found(tree, claim(conflicts=[pair]))


def test_the_real_claims_lead_somewhere_and_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_claims(LEDGER, CATALOG)
    assert len(LEDGER["claims"]) >= 25
    build(tmp_path, CATALOG, "study")
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path)
    numbers = published.load(REPOSITORY / inputs.PUBLISHED)
    findings = evaluate(LEDGER, CATALOG, "study", numbers)
    assert [finding.name for finding in findings] == list(LEDGER["claims"])
    for finding in findings:
        missing = [c for c in finding.comparisons if c.effect is None]
        # 512 and 128 pixels and captions are other scales.
        elsewhere = finding.name.startswith(("bar_512", "bar_128", "bar_text_to_image"))
        assert elsewhere or not missing
    told = " ".join(text for finding in findings for text in finding.conflicts)
    for conflict in ("1.56 (BAR main) against 1.63", "xar_b_bar against mar_h is +0.01", "0.102 s"):
        assert conflict in told


def test_claims_without_a_verdict_come_last(tree: dict[str, Any]) -> None:
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [4.0, 5.01, 2.99]})
    lone = claim() | {"compare": [against("b_bar", "b")]}
    claims = {"far": claim(scale="large"), "one": claim(), "lone": lone}
    layout = claims_layout(all_found(tree, claims), ALPHA, ([], ""))
    assert [row["claim"] for row in layout.tidy] == ["one", "lone", "far"]
    assert layout.caption.startswith(
        "3 claims, 2 of them with a verdict: 1 reproduced, 1 undecided; without: 1 not tested."
    )
    assert "The 1 that could be tested are judged together" in layout.caption
    none = claims_layout(all_found(tree, {"far": claim(scale="large")}), ALPHA, ([], ""))
    assert none.caption.startswith("1 claims, 0 of them with a verdict; without: 1 not tested. V")


def test_stage_renders_every_format_from_its_declared_inputs(tree: dict[str, Any]) -> None:
    claims = {"alpha": ALPHA, "claims": {"one": claim(), "two": claim(scale="large")}}
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    stage.main(["--scale", "small"])
    folder = Path("results/small/claims")
    assert len(list(folder.iterdir())) == 9
    page = (folder / "claims.html").read_text()
    assert "2 claims, 1 of them with a verdict: 1 undecided; without: 1 not tested." in page
    assert "decidable from scale large" in page
    rows = list(csv.DictReader((folder / "comparisons.csv").read_text().splitlines()))
    assert rows[0]["reading"] == "r0 of constant weight" and rows[0]["readings_tried"] == "1"
    assert "A basis helps A." in (folder / "summary.html").read_text()
    results = [name for name in claim_inputs(claims, tree, "small") if name.startswith("results")]
    needed = {Path(name) for name in results} | {folder}
    for path in Path("results/small").rglob("*.json"):
        if path not in needed:
            path.unlink()
    shutil.rmtree(folder)
    stage.main(["--scale", "small"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "less"}, "claims.one: kind must be one of below, above"),
        ({"decidable_from": "huge"}, "decidable_from must be one of small, large; got 'huge'"),
        ({"kind": "equal"}, "kind 'equal' needs a tolerance"),
        ({"compare": []}, "give comparisons, or under `needs`"),
        ({"compare": [{"metric": "fad", "system": "a", "than": "b"}]}, "got 'fad'"),
        (
            {"compare": [{"metric": "geneval", "system": "a", "than": "b"}]},
            "config/claims.yaml:\n  claims.one: metric must be one of fid, sfid, kid, is_mean",
        ),
        (
            {"conflicts": [{"about": "x", "between": [["P/main/a", "fid"], ["P/main/a", "fad"]]}]},
            "claims.one: a conflict's metric must be one of fid, sfid, kid, is_mean",
        ),
        ({"compare": [{"metric": "fid", "system": "a"}]}, "needs one of than, than_published"),
        (
            {"compare": [{"metric": "fid", "system": "nobody", "than": "a"}]},
            "no scale evaluates the system 'nobody'; add an eval with 'system: nobody'",
        ),
    ],
)
def test_wrong_claims_are_refused(
    tree: dict[str, Any],
    change: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    claims = {"alpha": ALPHA, "claims": {"one": claim() | change}}
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small"])
    assert message in capsys.readouterr().err
    Path("config/claims.yaml").unlink()
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small"])
    assert "config/claims.yaml is missing" in capsys.readouterr().err


def test_published_number_that_is_missing_is_named(tree: dict[str, Any]) -> None:
    one = claim()
    one["compare"] = [{"metric": "recall", "system": "a", "than_published": "P/main/a"}]
    with pytest.raises(ValueError, match="'P/main/a' has no published recall"):
        found(tree, one)
