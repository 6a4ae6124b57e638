"""The GPU's benchmark, line by line on the CPU with tiny models; recordings stand in for graphs."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks.__main__ import main
from benchmarks.gpu import accelerator, page, suite, training
from benchmarks.gpu.accelerator import Accelerator, peak_tflops
from benchmarks.gpu.graphs import Record, Recorded, cuda_graph, recorded_head
from benchmarks.gpu.suite import Sizes, rates
from benchmarks.gpu.training import fitting_batch, planned_bytes, with_batch
from torch import Tensor

from builders import generator, sampler_config
from command import ROOT
from gpus import DEVICE, Gpu
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.plan.runs import runs_of
from nextbasis.tables.published import load
from pretend_gpu import pretend_gpu

CPU = torch.device("cpu")
TINY = Sizes(training=2, sampling=2, images=8, product=16)
SAMPLED = ("official-settings", "CUDA-graph", "in-bfloat16", "compiled")


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def recorded(call: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """What a CUDA graph does, computed by the call itself: the same memory is written anew."""
    result = call()

    def replay() -> None:
        result.copy_(call())

    return result, replay


def record_on(gpu: Gpu) -> Record:
    return cuda_graph if gpu.is_real else recorded


@pytest.fixture
def measured(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every row, of tiny models on tokens of ImageNet's shape; blocks stay as they are."""
    monkeypatch.setattr("benchmarks.gpu.accelerator.ROUNDS", 1)
    for count in ("WARMUPS", "STEPS"):
        monkeypatch.setattr(training, count, 1)
    for module in ("nextbasis.training.trainer", "benchmarks.gpu.sampling"):
        monkeypatch.setattr(f"{module}.compile_blocks", lambda network: None)
    if not gpu.is_real:  # the pretend one has no memory of its own
        memory = {"empty_cache": lambda: None, "reset_peak_memory_stats": lambda device: None}
        memory |= {"max_memory_allocated": lambda device: 5_000_000}
        memory |= {"get_device_properties": lambda device: SimpleNamespace(total_memory=10**12)}
        for name, function in memory.items():
            monkeypatch.setattr(torch.cuda, name, function)
    runs = runs_of("tiny", ("mar_b",))
    with gpu():
        return suite.measure(
            runs, Accelerator(accelerator.gpu()), sizes=TINY, record=record_on(gpu)
        )


def test_every_row_is_measured_and_shown(measured: dict[str, Any], tmp_path: Path) -> None:
    assert page.failures(measured) == []
    rows = {row["key"]: row for row in measured["rows"]}
    wanted = [f"mar-b-train-{how}" for how in ("eager", "compiled")]
    wanted += [f"mar-b-sample-{how}" for how in SAMPLED]
    assert sorted(rows) == sorted(wanted) and next(iter(rows)) == "mar-b-train-eager"
    for row in rows.values():
        assert row["images_per_second"] == pytest.approx(row["images_a_round"] / row["seconds"][0])
        assert row["peak_bytes"] > 0 and row["tflops"] > 0
    step = rows["mar-b-train-eager"]
    assert step["images_a_round"] == step["batch_size"] == 2 and step["precision"] == "bfloat16"
    assert rows["mar-b-sample-compiled"]["precision"] == "bfloat16"
    assert rows["mar-b-sample-official-settings"]["precision"] == "float32"
    assert json.loads(json.dumps(measured)) == measured
    check_page(measured, tmp_path)


def check_page(measured: dict[str, Any], tmp_path: Path) -> None:
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
    assert "0.8 images/s (A100, fp32, batch 128)" in cells
    assert "**A card**, driver 1.2" in shown and "85.5 GB" in shown and "of 989 in its" in shown
    assert page.failures(result) == ["mar-b-sample-official-settings: OutOfMemoryError: too much"]
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


def test_ids_are_random_and_their_loss_is_that_of_guessing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in ("WARMUPS", "STEPS"):
        monkeypatch.setattr(training, count, 1)
    monkeypatch.setattr("nextbasis.training.trainer.device", lambda: CPU)
    (run,) = runs_of("tiny", ("rar_b",))
    cache = training.synthetic_tokens("ids", tmp_path / "ids", images=4)
    row = training.training_row(run, cache, False, Accelerator(CPU), batch=2)
    assert row["loss"] == pytest.approx(math.log(1024), abs=0.2)
    assert row["peak_bytes"] is None and len(row["seconds"]) > 1


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
def test_a_recorded_head_draws_the_same_tokens(guidance: float, gpu: Gpu) -> None:
    labels, sampler = torch.tensor([0, 1]), sampler_config("mar", guidance=guidance, num_iter=16)

    def drawn(made: Generator) -> Tensor:
        return made.sample(labels.to(DEVICE), ImageNoise(0, range(2), DEVICE), sampler).cpu()

    with gpu():
        made = generator("mar").eval().to(DEVICE)
        plain = drawn(made)
        with recorded_head(record_on(gpu)):
            again = drawn(made)
    torch.testing.assert_close(again, plain, rtol=1e-3, atol=1e-4)


def test_the_command_prints_keeps_and_tells_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"device": "A card", "driver": "1", "cuda": "13", "torch": "2", "python": "3"}
    environment |= {"memory_bytes": 10**9, "peak_tflops": None, "float32_products": "highest"}
    environment |= {"product_tflops": {"bfloat16": 2.0, "float32": 1.0}}
    row = {"key": "rar-b-train-eager", "run": "rar_b", "what": "train", "how": "eager"}
    result = {"environment": environment, "rows": [row | {"failed": "E: why"}], "seconds": 1.0}
    asked: list[Any] = []

    def measure(runs: Any, found: Accelerator, minutes: float) -> dict[str, Any]:
        asked.append(([run.config.key for run in runs], found.device, minutes))
        return result

    monkeypatch.setattr(suite, "measure", measure)
    monkeypatch.setattr(page, "RESULTS", tmp_path / "gpu.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "speed.md")
    place = "<!-- python -m benchmarks --gpu -->\n\nx\n\n<!-- end -->"
    (tmp_path / "speed.md").write_text(place, encoding="utf-8")
    with pretend_gpu():
        for arguments in (["--write"], ["--json", "--minutes", "2"]):
            with pytest.raises(SystemExit) as caught:
                main(["--gpu", *arguments])
            assert caught.value.code == 1
            printed = capsys.readouterr()
            assert printed.err == "failed: rar-b-train-eager: E: why\n"
            shown = "**A card**" if arguments == ["--write"] else '"device": "A card"'
            assert shown in printed.out
    runs = ["rar_b", "xar_b", "mar_b"]
    assert asked == [(runs, DEVICE, suite.MINUTES), (runs, DEVICE, 2.0)]
    assert json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8")) == result
    assert "**A card**" in (tmp_path / "speed.md").read_text(encoding="utf-8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--gpu"])
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert caught.value.code == 1 and printed.out == ""
    assert line.startswith("error: --gpu needs a CUDA device and torch ")
