"""The GPU's benchmark, line by line on the CPU with tiny models; recordings stand in for graphs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.__main__ import main
from benchmarks.gpu import page, suite, training
from benchmarks.gpu.accelerator import Accelerator, peak_tflops
from benchmarks.gpu.graphs import Recorded, recorded_head
from benchmarks.gpu.suite import Sizes, rates
from benchmarks.gpu.training import fitting_batch, planned_bytes, with_batch
from torch import Tensor

from builders import generator, sampler_config
from command import ROOT
from nextbasis.families.common.noise import ImageNoise
from nextbasis.plan.runs import runs_of
from nextbasis.tables.published import load

CPU = torch.device("cpu")
TINY = Sizes(training=2, sampling=2, images=8, product=16)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def recorded(call: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """What a CUDA graph does, computed by the call itself: the same memory is written anew."""
    result = call()

    def replay() -> None:
        result.copy_(call())

    return result, replay


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Every row but the compiled ones, of tiny models on tokens of ImageNet's shape."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr("benchmarks.gpu.accelerator.ROUNDS", 1)
        for count in ("WARMUPS", "STEPS"):
            patch.setattr(training, count, 1)
        patch.setattr("nextbasis.training.trainer.compile_blocks", lambda network: None)
        patch.setattr("benchmarks.gpu.sampling.compile_blocks", lambda network: None)
        patch.setattr("nextbasis.training.trainer.device", lambda: CPU)
        runs = runs_of("tiny", ("rar_b", "mar_b"))
        return suite.measure(runs, Accelerator(CPU), sizes=TINY, record=recorded)


def test_every_row_is_measured(measured: dict[str, Any]) -> None:
    assert page.failures(measured) == []
    rows = {row["key"]: row for row in measured["rows"]}
    families = ("rar", "mar")
    wanted = [f"{name}-b-train-{how}" for how in ("eager", "compiled") for name in families]
    wanted += [
        f"{name}-b-sample-{how}" for how in ("official-settings", "compiled") for name in families
    ]
    wanted += ["mar-b-sample-CUDA-graph"] + [f"{name}-b-sample-in-bfloat16" for name in families]
    assert sorted(rows) == sorted(wanted)
    assert list(rows)[:2] == [f"{name}-b-train-eager" for name in families]
    for row in rows.values():
        assert row["images_per_second"] == pytest.approx(row["images_a_round"] / row["seconds"][0])
        assert row["peak_bytes"] is None and row["utilisation"] is None and row["tflops"] > 0
    step = rows["rar-b-train-eager"]
    assert step["images_a_round"] == 2 and step["precision"] == "bfloat16"
    assert step["loss"] == pytest.approx(6.93, abs=0.5)  # ln 1024: ids at random
    assert rows["rar-b-sample-compiled"]["precision"] == "bfloat16"
    assert json.loads(json.dumps(measured)) == measured


def test_the_page_shows_what_was_measured(measured: dict[str, Any], tmp_path: Path) -> None:
    environment = measured["environment"] | {"device": "A card", "memory_bytes": 85_520_809_984}
    environment |= {"peak_tflops": 989.0, "driver": "1.2"}
    first, second, *rest = measured["rows"]
    first = first | {"peak_bytes": 40e9, "images_per_second": 1234.56, "utilisation": 0.315}
    failed = {name: second[name] for name in ("key", "run", "what", "how")}
    result = {"environment": environment, "seconds": 1.0}
    result["rows"] = [first, failed | {"failed": "OutOfMemoryError: too much"}, *rest]
    shown = page.block(result)
    cells = [cell.strip() for line in shown.splitlines() for cell in line.split("|")]
    for expected in ("1,234.6", "32%", "40.0", "OutOfMemoryError: too much", "compiled"):
        assert expected in cells
    assert "17 images/s (A100, fp32, batch 128)" in cells
    assert "**A card**, driver 1.2" in shown and "85.5 GB" in shown and "of 989 in its" in shown
    assert page.failures(result) == ["mar-b-train-eager: OutOfMemoryError: too much"]
    path = tmp_path / "speed.md"
    path.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    page.write(result, path)
    page.write(result, path)
    assert path.read_text(encoding="utf-8").count(shown) == 1
    with pytest.raises(ValueError, match="has no place for the GPU's rows"):
        page.write(result, Path("README.md"))


def test_published_rates_name_their_machine() -> None:
    numbers = load(page.PUBLISHED)
    assert page.published(numbers, "xar_b") == "9.8 images/s (A100, batch 128)"
    assert page.published(numbers, "mar_b") == "0.8 images/s (A100, fp32, batch 128)"
    assert page.published(numbers, "mar_b_bar") == "-"


def test_the_committed_page_shows_the_committed_result() -> None:
    result = json.loads(page.RESULTS.read_text(encoding="utf-8")) if page.RESULTS.exists() else None
    (found,) = page.BLOCK.findall(page.PAGE.read_text(encoding="utf-8"))
    assert found == page.block(result)


def test_a_row_that_fails_spares_the_others_and_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> dict[str, Any]:
        raise RuntimeError("CUDA error\nand a long story")

    monkeypatch.setattr(suite, "training_row", broken)
    monkeypatch.setattr(suite, "sampling_row", broken)
    runs = runs_of("tiny", ("xar_b",))
    failed = suite.measure(runs, Accelerator(CPU), sizes=TINY)["rows"]
    assert {row["failed"] for row in failed} == {"RuntimeError: CUDA error"}
    late = suite.measure(runs, Accelerator(CPU), minutes=0, sizes=TINY)["rows"]
    assert {row["left_out"] for row in late} == {"0 minutes were over"}


def test_shares_are_of_the_peak() -> None:
    found = {"images_a_round": 100, "seconds": [1.0, 2.0, 4.0], "flops_per_image": 2e12}
    told = rates(found, peak_tflops=400.0)
    assert told == {"images_per_second": 50.0, "tflops": 100.0, "utilisation": 0.25}


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 PCIe", None),
        ("Tesla T4", None),
    ],
)
def test_a_peak_is_that_of_the_plan(name: str, peak: float | None) -> None:
    assert peak_tflops(name) == peak


def test_a_batch_is_halved_until_the_plan_fits() -> None:
    (run,) = runs_of("imagenet256", ("rar_b",))
    whole, half = (planned_bytes(with_batch(run, batch)) for batch in (256, 128))
    assert half < whole < 2 * half
    assert fitting_batch(run, None) == fitting_batch(run, int(whole / 0.69)) == 256
    assert fitting_batch(run, int(whole / 0.71)) == 128


def test_a_recorded_function_is_called_once_for_each_shape() -> None:
    calls: list[int] = []

    def counting(call: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        calls.append(1)
        return recorded(call)

    double = Recorded(lambda x, y: 2 * x + y, counting)
    first = double(torch.ones(2), torch.zeros(2))
    second = double(torch.tensor([3.0, 4.0]), torch.ones(2))
    assert first.tolist() == [2, 2] and second.tolist() == [7, 9] and len(calls) == 1
    assert double(torch.ones(3), torch.zeros(3)).tolist() == [2, 2, 2] and len(calls) == 2


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_recorded_head_draws_the_same_tokens(guidance: float) -> None:
    made = generator("mar").eval()
    labels, sampler = torch.tensor([0, 1]), sampler_config("mar", guidance=guidance, num_iter=16)
    plain = made.sample(labels, ImageNoise(0, range(2), CPU), sampler)
    with recorded_head(recorded):
        drawn = made.sample(labels, ImageNoise(0, range(2), CPU), sampler)
    torch.testing.assert_close(drawn, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--gpu"])
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert caught.value.code == 1 and printed.out == ""
    assert line.startswith("error: --gpu needs a CUDA device and torch ")
