from dataclasses import replace

import pytest
from benchmarks.__main__ import chosen
from benchmarks.definition import PARAMETERS, ROWS
from benchmarks.measure import Timing
from benchmarks.report import page, record, scoring_record
from benchmarks.scoring import SCORING, check_equal, measure_row
from benchmarks.work import work

MACHINE = {
    "processor": "a processor",
    "instructions": "AVX2",
    "torch": "2",
    "python": "3",
    "threads": 1,
    "matmul_gflop_per_cpu_second": {
        "float32, torch": {"8x8x8": 100.0},
        "bfloat16": {"8x8x8": 200.0},
    },
}


def timing(*cpu: float) -> Timing:
    return Timing(cpu=list(cpu), wall=[2 * seconds for seconds in cpu], gflops=[50.0] * len(cpu))


@pytest.mark.parametrize("family", PARAMETERS)
def test_models_have_the_defined_size(family: str) -> None:
    row = next(row for row in ROWS if row.family == family)
    _, images, parameters = work(row)
    assert parameters == PARAMETERS[family]
    assert images == {"mar": 8, "xar": 2, "rar": 16}[family]


def test_record_compares_the_median_with_the_official_rate() -> None:
    row = next(row for row in ROWS if row.key == "mar-sample")
    # Median 1.0 s for 4 images: 4 images per CPU second against 2.38, so 1.68 times.
    numbers = record(row, timing(0.5, 1.0, 8.0), images=4, parameters=1)
    assert numbers["images_per_cpu_second"] == 4.0
    assert numbers["ratio"] == pytest.approx(4 / 2.38)
    assert numbers["met"] is True
    assert record(row, timing(2.0), images=4, parameters=1)["met"] is False


def test_row_without_target_is_neither_met_nor_missed() -> None:
    row = next(row for row in ROWS if row.target is None)
    assert record(row, timing(1.0), images=16, parameters=1)["met"] is None


def test_page_shows_rates_ratio_and_target() -> None:
    row = next(row for row in ROWS if row.key == "rar-sample")
    text = page(MACHINE, [record(row, timing(4.0), images=16, parameters=PARAMETERS["rar"])])
    cells = [cell.strip() for line in text.splitlines() for cell in line.split("|")]
    for expected in ("rar-sample", "4.000", "8.000", "4.00", "0.66", "6.06", "4", "yes", "50"):
        assert expected in cells
    assert "rar 11,137,280 (official 11,137,280)" in text


def test_chosen_takes_prefixes_in_order_of_the_table() -> None:
    rows, scoring = chosen(["xar-sample", "mar-sample-bf16"])
    keys = [row.key for row in rows]
    assert keys == ["mar-sample-bf16", "xar-sample", "xar-sample-cfg1"]
    assert not scoring and chosen([]) == (ROWS, SCORING)
    assert [row.key for row in chosen(["score-f"])[1]] == ["score-fashion", "score-fashion-both"]


def test_chosen_refuses_an_unknown_row() -> None:
    with pytest.raises(ValueError, match="--only dit fits no row; the rows are mar-train"):
        chosen(["dit"])


def test_scores_are_compared_by_the_median_and_shown() -> None:
    row = next(row for row in SCORING if row.key == "score-fashion")
    numbers = scoring_record(row, timing(1.0, 2.0, 9.0), timing(5.0))
    assert numbers["ratio"] == 2.5 and numbers["met"] is True
    text = page(MACHINE, [], [numbers])
    cells = [cell.strip() for line in text.splitlines() for cell in line.split("|")]
    for expected in ("score-fashion", "fashion128, stored reference", "10,000", "2.50", "yes"):
        assert expected in cells
    assert "Parameters" not in text


def test_scores_are_timed_only_when_they_agree() -> None:
    row = replace(next(row for row in SCORING if row.key == "score-fashion-both"), images=150)
    ours, theirs = measure_row(row, repeats=1)
    assert len(ours.cpu) == len(theirs.cpu) == 1
    same = {"fid": 1.0, "is_mean": 2.0, "precision": 0.5, "recall": 0.5}
    other = {"frechet_inception_distance": 1.00005, "inception_score_mean": 2.0}
    check_equal(same, other | {"precision": 0.5, "recall": 0.5})
    with pytest.raises(ValueError, match="recall: 0.5 here, 0.51 from torch-fidelity"):
        check_equal(same, other | {"precision": 0.5, "recall": 0.51})
