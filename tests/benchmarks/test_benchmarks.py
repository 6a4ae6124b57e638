import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from benchmarks.__main__ import chosen, with_earlier
from benchmarks.measure import Timing
from benchmarks.report import page, record, scoring_record
from benchmarks.scoring import SCORING, check_equal, measure_row
from benchmarks.work import ROWS, speed_of, speed_of_row, work

from benchmarks import basis_cost, basis_report, loader
from nextbasis.families import names

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


@pytest.mark.parametrize("name", [*names(), "repa"])
def test_models_have_the_defined_size(name: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    _, images, parameters = work(row)
    assert parameters == speed_of_row(row).PARAMETERS
    images_at_once = {"mar": 8, "xar": 2, "rar": 16, "var": 4, "dit": 8, "mdtv2": 2, "sit": 4}
    assert images == (images_at_once | {"llamagen": 16, "par": 16, "repa": 4})[name]


def test_a_record_has_the_median_rate() -> None:
    row = next(row for row in ROWS if row.key == "mar-sample")
    numbers = record(row, timing(0.5, 1.0, 8.0), images=4, parameters=1)
    assert numbers["images_per_cpu_second"] == 4.0 and numbers["cpu_seconds"] == [0.5, 1.0, 8.0]


def test_a_page_shows_rates() -> None:
    row = next(row for row in ROWS if row.key == "rar-sample")
    text = page(
        MACHINE, [record(row, timing(4.0), images=16, parameters=speed_of("rar").PARAMETERS)]
    )
    cells = [cell.strip() for line in text.splitlines() for cell in line.split("|")]
    for expected in ("rar-sample", "4.000", "8.000", "4.00", "50"):
        assert expected in cells
    assert "rar 11,137,280 (official 11,137,280)" in text


def test_chosen_takes_prefixes_in_order_of_the_table() -> None:
    rows, scoring, sizes, reading = chosen(["xar-sample", "mar-sample-bf16"])
    keys = [row.key for row in rows]
    assert keys == ["mar-sample-bf16", "xar-sample", "xar-sample-cfg1"]
    assert not scoring and not sizes and not reading
    sides = ["basis-64", "basis-256", "basis-1024", "basis-4096"]
    assert chosen([]) == (ROWS, SCORING, sides, loader.LOADER)
    assert [row.key for row in chosen(["loader"])[3]] == ["loader-kl16", "loader-ids"]
    assert [row.key for row in chosen(["score-f"])[1]] == ["score-fashion", "score-fashion-both"]
    assert chosen(["basis-64"]) == ([], [], ["basis-64"], [])


def test_chosen_refuses_an_unknown_row() -> None:
    with pytest.raises(ValueError, match="--only nosuch fits no row; the rows are .*mar-train"):
        chosen(["nosuch"])


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


@pytest.mark.parametrize("structure", basis_cost.STRUCTURES)
def test_cost_of_a_adds_up_to_its_share(structure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def second(call: Callable[[], Any], *_: Any) -> float:
        call()
        return 1.0

    monkeypatch.setattr(basis_cost, "seconds", second)
    basis_cost.operations.cache_clear()
    row = basis_cost.cost(structure, "xar", side=4, step=10.0, repeats=1)
    basis_cost.operations.cache_clear()
    # Each operation takes a second, of a step of 80; householder has nothing to keep orthogonal.
    expected = 2 / 80 if structure == "householder" else 4.05 / 80
    assert row["share_of_cpu"] == pytest.approx(expected)
    assert 0 < row["share_of_flops_at_paper_batch"] <= row["share_of_flops"]
    assert set(row["cpu_seconds"]) == set(row["flops"]) == set(basis_report.OPERATIONS)


def test_structured_a_takes_the_cells_of_xar_and_the_grid_of_mar() -> None:
    assert basis_cost.layout_of("blocks", "xar", 16) == (4, 64)
    assert basis_cost.layout_of("blocks", "mar", 16) == (16, 16)
    a = basis_cost.basis_of("kronecker", (4, 64)).matrix()
    sigma = torch.linalg.svdvals(a)
    assert 0.5 < sigma.min() < 0.95 and 1.05 < sigma.max() < 1.5


def test_page_of_a_shows_shares_and_verdict() -> None:
    cpu: dict[str, float | None] = dict.fromkeys(basis_report.OPERATIONS, 0.25)
    row = {"tokens": 1024, "family": "mar", "structure": "dense", "share_of_flops": 0.002}
    row |= {"share_of_flops_at_paper_batch": 0.001, "share_of_cpu": 0.0325}
    row |= {"cpu_seconds": cpu | {"projection": None}, "flops": dict.fromkeys(cpu, 5e9)}
    step = {"tokens": 1024, "family": "mar", "flops": 2e12, "cpu_seconds": 9, "measured": False}
    text = basis_report.page([step], [row])
    cells = [cell.strip() for line in text.splitlines() for cell in line.split("|")]
    for expected in ("mar_b", "2,000", "9.00 (derived)", "0.200%", "3.250%", "250.0 (5.00)", "-"):
        assert expected in cells
    assert "missed, 3.25% at most" in text
    met = basis_report.page([step], [row | {"share_of_cpu": 0.02}])
    assert "met, 2.00% at most" in met


def test_writing_keeps_what_was_not_measured_now() -> None:
    nothing: dict[str, Any] = {"steps": [], "rows": []}
    row, basis = {"key": "a", "ratio": 1.0}, {"steps": [{}], "rows": [{"tokens": 64}]}
    old = {"processor": "p", "instructions": "i", "torch": "t", "threads": 1, "gflops": 1.0}
    new = old | {"gflops": 2.0}
    earlier = {"machine": old, "rows": [row, {"key": "b"}], "scoring": [], "basis": nothing}
    earlier["loader"] = []
    later = with_earlier(
        {"machine": new, "rows": [], "scoring": [], "basis": basis, "loader": []}, earlier
    )
    assert later == earlier | {"basis": basis}
    again = {"machine": new, "rows": [row | {"ratio": 2.0}], "scoring": [], "basis": nothing}
    again["loader"] = [{"key": "c"}]
    assert with_earlier(again, later) == {
        "machine": new,
        "rows": [row | {"ratio": 2.0}, {"key": "b"}],
        "scoring": [],
        "basis": basis,
        "loader": [{"key": "c"}],
    }


@pytest.mark.parametrize("name", ["processor", "instructions", "torch", "threads"])
def test_what_another_machine_measured_is_dropped(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = {"processor": "p", "instructions": "i", "torch": "t", "threads": 1}
    parts = {"scoring": [], "basis": {"steps": [], "rows": []}, "loader": []}
    earlier = {"machine": machine, "rows": [{"key": "a"}], **parts}
    result = {"machine": machine | {name: "other"}, "rows": [{"key": "b"}], **parts}
    assert with_earlier(result, earlier) == result
    assert "on another machine: p, i, t, 1" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_reading_is_timed_on_a_set_of_the_real_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "COLD_BYTES", 1e6)
    row = loader.LOADER[0]
    numbers = loader.measure_row(row, repeats=1, images=25_000)
    assert numbers["set_gb"] == pytest.approx(25_000 * 2 * 256 * 32 * 4 / 1e9)
    assert numbers["disk_mb"] < 1, "the files are holes"
    assert numbers["tokens_per_second"] == pytest.approx(256 * numbers["images_per_second"])
    assert 1000 < numbers["gpus_need"] < 100_000  # MAR-B on 8 H100
    cells = [cell.strip() for cell in loader.page([numbers]).splitlines()[4].split("|")]
    assert cells[1:4] == ["loader-kl16", "KL-16 moments, 2 views", "1.6"]
