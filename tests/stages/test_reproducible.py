"""The choice between the same bits again on a GPU and its fastest algorithms."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from nextbasis import stages
from pretend_gpu import DEVICE, pretend_gpu

TOLD = ["scale=toy", "dataset=digits"]


@pytest.fixture(autouse=True)
def algorithms_as_before() -> Iterator[None]:
    cudnn, mode = torch.backends.cudnn, torch.get_deterministic_debug_mode()
    products = torch.get_float32_matmul_precision()
    with cudnn.flags(enabled=True, benchmark=cudnn.benchmark, allow_tf32=cudnn.allow_tf32):
        yield
    torch.set_deterministic_debug_mode(mode)
    torch.set_float32_matmul_precision(products)


def started(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[Any]:
    """What a stage's main sees that asks a GPU for what it computes in an order of its own."""
    seen: list[Any] = []

    def main(config: Any) -> None:
        seen.append((config.reproducible, torch.are_deterministic_algorithms_enabled()))
        with pretend_gpu(torch.are_deterministic_algorithms_enabled()):
            seen.append(torch.ones(3, device=DEVICE).median(0).values.item())

    monkeypatch.setattr("sys.argv", ["stage", *TOLD, *words])
    stages.run("dataset", main, None)
    return seen


def test_what_has_no_deterministic_algorithm_is_refused_by_default_and_says_what_to_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        started(monkeypatch)
    said = capsys.readouterr().err
    assert stopped.value.code == 1 and len(said.splitlines()) == 1
    assert "median" in said and "reproducible=false" in said


def test_a_stage_that_need_not_be_reproducible_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(monkeypatch, "reproducible=false") == [(False, False), 1.0]
    assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize("reproducible", ["true", "false"])
def test_no_stage_computes_in_tf32(reproducible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in convolutions, where it is torch's default, nor in products, whatever was set."""
    seen: list[Any] = []

    def main(config: Any) -> None:
        cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
        seen.extend([cudnn.allow_tf32, cuda.matmul.allow_tf32])
        seen.append(torch.get_float32_matmul_precision())

    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    monkeypatch.setattr("sys.argv", ["stage", *TOLD, f"reproducible={reproducible}"])
    stages.run("dataset", main, None)
    assert seen == [False, False, "highest"]


def test_another_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(config: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("sys.argv", ["stage", *TOLD])
    with pytest.raises(RuntimeError, match="a bug"):
        stages.run("dataset", main, None)


def test_a_word_that_is_neither_true_nor_false_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        started(monkeypatch, "reproducible=maybe")
    assert "reproducible: Value 'maybe' is not a valid bool" in capsys.readouterr().err
