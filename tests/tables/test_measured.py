"""What tables show of results: statistics over seeds, differences of pairs, what is refused."""

import csv
import io
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nextbasis.claims import __main__ as ledger
from nextbasis.support.files import read_json, write_json
from nextbasis.tables import __main__ as stage
from nextbasis.tables import inputs, layout, measured, render
from results_tree import fid_of, row_of, small_claims


def test_mean_and_spread_over_seeds_equal_the_statistics_module(catalog: dict[str, Any]) -> None:
    frame = measured.collect(catalog, "small", ["a"])
    values = [fid_of(position, position) for position in range(3)]
    found = measured.estimate(frame, "a", "fid")
    assert found is not None
    assert found.value == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert found.spread == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert found.spread == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert (found.num_seeds, found.num_images) == (3, 2000)


def test_one_seed_shows_the_analytic_error_and_says_so(catalog: dict[str, Any]) -> None:
    ready = stage.build(catalog, "small", "systems")
    assert row_of(ready, "B")["FID ↓"].text == f"{fid_of(6, 0):.2f} ± 0.08 SE (1)"
    assert any(note.startswith("SE: one seed only") for note in ready.notes)


def set_fid(key: str, fid: float) -> None:
    path = Path(f"results/small/score/{key}/score.json")
    score = read_json(path)
    score["values"]["fid"] = fid
    write_json(path, score)


def difference_of(ready: layout.Layout, label: str) -> dict[str, Any]:
    return next(row for row in ready.tidy if row["row"] == f"{label} difference")


def test_paired_difference_equals_hand_computation(catalog: dict[str, Any]) -> None:
    for seed, (without, with_basis) in enumerate([(6.0, 5.5), (5.0, 5.0), (7.0, 6.0)]):
        suffix = f"_s{seed}" if seed else ""
        set_fid(f"a{suffix}", without)
        set_fid(f"a_bar{suffix}", with_basis)
    ready = stage.build(catalog, "small", "pairs")
    found = difference_of(ready, "A")
    assert found["measured"] == pytest.approx(-0.5)  # of -0.5, 0 and -1
    assert found["spread"] == pytest.approx(0.5 / math.sqrt(3))
    assert (found["n_seeds"], found["spread_is"]) == (3, measured.STANDARD_ERROR)
    row = row_of(ready, "A")
    assert row["difference"].text == "−0.50 ± 0.29 (3)"
    # 4.30 is Student's quantile at 2.5 % and two degrees of freedom.
    assert row["interval by itself"].text == "−1.74 to +0.742 (95%)"


def test_pairs_are_matched_by_seed_not_by_position(catalog: dict[str, Any]) -> None:
    evals = catalog["small"]["evals"]
    evals["a_bar"]["seed"], evals["a_bar_s2"]["seed"] = 2, 0
    found = difference_of(stage.build(catalog, "small", "pairs"), "A")
    values = {key: read_json(Path(f"results/small/score/{key}/score.json")) for key in evals}
    fid = {key: score["values"]["fid"] for key, score in values.items()}
    differences = [
        fid["a_bar_s2"] - fid["a"],
        fid["a_bar_s1"] - fid["a_s1"],
        fid["a_bar"] - fid["a_s2"],
    ]
    assert found["spread"] == pytest.approx(statistics.stdev(differences) / math.sqrt(3))


def test_one_seed_of_a_pair_decides_nothing(catalog: dict[str, Any]) -> None:
    set_fid("b", 100.0)
    for seed in (0, 5):  # a common one, and none
        catalog["small"]["evals"]["b"]["seed"] = seed
        row = row_of(stage.build(catalog, "small", "pairs"), "B")
        assert row["difference"].text.startswith("−9")
        assert row["interval by itself"].text == row["interval that decides"].text == "unknown"
        assert row["verdict"].text.startswith("undecided (")
        assert "one seed decides nothing" in row["verdict"].text


def test_verdict_of_a_pair_is_that_of_the_ledger(catalog: dict[str, Any]) -> None:
    for seed, fid in enumerate((5.0, 6.0, 4.0)):
        suffix = f"_s{seed}" if seed else ""
        set_fid(f"a{suffix}", fid)
        set_fid(f"a_bar{suffix}", fid - 1 + 0.001 * seed)
    ledger.main(["--scale", "small"])
    page = Path("results/small/claims/claims.md").read_text(encoding="utf-8")
    for label in ("A", "B"):
        row = row_of(stage.build(catalog, "small", "pairs"), label)
        line = next(line for line in page.splitlines() if f"| A basis helps {label}." in line)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        columns = ("verdict", "interval by itself", "interval that decides")
        shown = [render.escape_markdown(row[name].text) for name in columns]
        assert shown == [cells[2], cells[4], cells[5]]
        assert row["verdict"].text.startswith("reproduced" if label == "A" else "undecided")


def test_pair_that_no_claim_is_about_is_refused(catalog: dict[str, Any]) -> None:
    claims = small_claims()
    del claims["claims"]["b"]
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    with pytest.raises(
        ValueError, match="tables.pairs: no claim of .* compares b_bar with b in fi"
    ):
        stage.build(catalog, "small", "pairs")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("b", "tables.systems: a .17,280 images in 540 steps. and b .172,800 images in 5,400 st"),
        ("a_s1", "small.evals: the seeds of system 'a' were trained by different budgets: 17"),
    ],
)
def test_budgets_are_never_mixed(catalog: dict[str, Any], key: str, message: str) -> None:
    path = Path(f"results/small/train/{key}/metrics.json")
    write_json(path, read_json(path) | {"steps": 5_400, "images_seen": 172_800})
    with pytest.raises(ValueError, match=message):
        stage.build(catalog, "small", "systems")


def test_families_may_have_budgets_of_their_own(catalog: dict[str, Any]) -> None:
    catalog["small"]["runs"]["b"]["family"] = "rar"
    path = Path("results/small/train/b/metrics.json")
    write_json(path, read_json(path) | {"steps": 450, "images_seen": 7_200})
    assert stage.build(catalog, "small", "systems").rows


def test_system_of_another_scale_is_published_only(catalog: dict[str, Any]) -> None:
    ready = stage.build(catalog, "small", "systems")
    for label in ("Big", "Other_people"):
        row = row_of(ready, label)
        assert row["FID ↓"].text == layout.PUBLISHED_ONLY
        assert row["images"].text == layout.NOTHING
        assert row["published in"].text == "P main"
    assert row_of(ready, "B")["published in"].text == layout.NOT_PUBLISHED
    assert row_of(ready, "A again")["FID ↓"] == row_of(ready, "A & co")["FID ↓"]


def test_share_of_projected_steps_is_that_of_the_training(catalog: dict[str, Any]) -> None:
    catalog["tables"]["systems"]["metrics"] = ["fid", "projected_share"]
    for seed, share in enumerate((0.0, 0.5, 1.0)):
        path = Path(f"results/small/train/a{f'_s{seed}' if seed else ''}/metrics.json")
        write_json(path, read_json(path) | {"basis": {"projected_share": share}})
    ready = stage.build(catalog, "small", "systems")
    assert row_of(ready, "A & co")["steps projected"].text == "0.50 ± 0.50 (3)"
    assert row_of(ready, "B")["steps projected"].text == layout.NOTHING


def test_flags_become_one_footnote_each(catalog: dict[str, Any]) -> None:
    ready = stage.build(catalog, "small", "systems")
    assert row_of(ready, "Other_people")["FID, published"] == layout.Cell("2.50", ("a",))
    assert ready.footnotes == [("a", "two values, 2.5 | 2.6")]


@pytest.fixture
def kid(catalog: dict[str, Any]) -> dict[str, list[float]]:
    """KID of the seeds of `a` and `a_bar`; the other systems have none."""
    values = {"a": [0.0123456, 0.0113456, 0.0126], "a_bar": [0.0003, -0.0006, 0.0004]}
    for system, numbers in values.items():
        for seed, number in enumerate(numbers):
            path = Path(f"results/small/score/{system}{f'_s{seed}' if seed else ''}/score.json")
            score = read_json(path)
            score["values"]["kid"] = number
            write_json(path, score)
    return values


def test_kid_is_a_column_like_any_other(
    catalog: dict[str, Any], kid: dict[str, list[float]]
) -> None:
    catalog["tables"]["systems"]["metrics"] = ["fid", "kid"]
    ready = stage.build(catalog, "small", "systems")
    mean, spread = statistics.fmean(kid["a"]), statistics.stdev(kid["a"])
    assert row_of(ready, "A & co")["KID ↓"].text == f"{mean:.5f} ± {spread:.5f} (3)"
    assert row_of(ready, "B")["KID ↓"].text == layout.NOTHING
    rows = list(csv.DictReader(io.StringIO(render.render(ready, "csv", inputs.TEMPLATES))))
    (row,) = [row for row in rows if (row["row"], row["metric"]) == ("A & co", "kid")]
    assert float(row["measured"]) == pytest.approx(mean)
    for suffix in inputs.FORMATS:
        assert render.render(ready, suffix, inputs.TEMPLATES)


@pytest.mark.parametrize(
    ("metric", "heading", "kind", "verdict"),
    [("kid", "KID ↓", "below", "reproduced"), ("recall", "recall ↑", "above", "contradicted")],
)
def test_pairs_of_any_metric_show_its_better_direction(
    catalog: dict[str, Any],
    kid: dict[str, list[float]],
    metric: str,
    heading: str,
    kind: str,
    verdict: str,
) -> None:
    """Of both the system with a basis has the lower values."""
    for number, key in enumerate(("a_bar", "a_bar_s1", "a_bar_s2")):
        path = Path(f"results/small/score/{key}/score.json")
        score = read_json(path)
        score["values"]["recall"] = 0.2 + number / 1000
        write_json(path, score)
    catalog["tables"]["pairs"]["metrics"] = [metric]
    claims = small_claims()
    for claim in claims["claims"].values():
        claim["kind"] = kind
        claim["compare"][0] = {**claim["compare"][0], "metric": metric}
        del claim["compare"][0]["published"]
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    row = row_of(stage.build(catalog, "small", "pairs"), "A")
    assert heading in row and f"+ BAR {heading[-1]}" in row
    assert row["verdict"].text.startswith(verdict)
    if metric == "kid":
        gain = statistics.fmean(kid["a_bar"]) - statistics.fmean(kid["a"])
        assert row["difference"].text.startswith(f"{gain:.5f} ±".replace("-", "−"))


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("score/a_bar_s1/score.json", "dvc repro config/scales/small/dvc.yaml:score@a_bar_s1"),
        ("sample/a/speed.json", "dvc repro config/scales/small/dvc.yaml:sample@a"),
        ("train/a_s2/metrics.json", "dvc repro config/scales/small/dvc.yaml:train@a_s2"),
        ("reconstruct/kl/score.json", "dvc repro config/scales/small/dvc.yaml:reconstruct@kl"),
        ("reference/metrics.json", "dvc repro config/scales/small/dvc.yaml:reference@made"),
        ("dataset/metrics.json", "dvc repro config/scales/small/dvc.yaml:dataset@made"),
    ],
)
def test_missing_result_names_file_and_command(
    catalog: dict[str, Any], missing: str, command: str
) -> None:
    path = Path("results/small", missing)
    path.unlink()
    with pytest.raises(FileNotFoundError) as error:
        stage.build(catalog, "small", "pairs")
    assert str(error.value) == f"{path} is missing; `{command}` makes it"
    assert not Path("results/small/tables").exists()


def test_incomplete_score_names_what_it_lacks(catalog: dict[str, Any]) -> None:
    path = Path("results/small/score/a/score.json")
    score = read_json(path)
    del score["values"]["recall"]
    write_json(path, score)
    with pytest.raises(ValueError, match=r"score/a/score.json lacks recall"):
        stage.build(catalog, "small", "systems")


def test_scores_of_different_protocols_are_never_mixed(catalog: dict[str, Any]) -> None:
    path = Path("results/small/score/a_bar/score.json")
    score = read_json(path)
    score["protocol"]["extractor_sha256"] = "0" * 64
    write_json(path, score)
    with pytest.raises(ValueError, match="scores of a and a_bar cannot be compared"):
        stage.build(catalog, "small", "pairs")


def test_seeds_with_different_numbers_of_images_are_refused(catalog: dict[str, Any]) -> None:
    path = Path("results/small/score/a_s1/score.json")
    score = read_json(path)
    score["protocol"]["num_images"] = 1000
    write_json(path, score)
    with pytest.raises(ValueError, match=r"'a' is sampled with different numbers.*\[1000, 2000\]"):
        stage.build(catalog, "small", "pairs")


def test_unknown_names_list_the_choices(catalog: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="table must be one of systems, pairs; got 'main'"):
        stage.build(catalog, "small", "main")
    with pytest.raises(ValueError, match="scale must be one of small, large; got 'huge'"):
        stage.build(catalog, "huge", "pairs")


def test_inputs_are_exactly_what_a_table_reads(
    catalog: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    original = measured.read_json

    def spy(path: Path) -> Any:
        read.add(str(path))
        return original(path)

    monkeypatch.setattr(measured, "read_json", spy)
    stage.build(catalog, "small", "systems")
    assert read == set(inputs.table_inputs(catalog, "small", "systems"))
