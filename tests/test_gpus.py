"""What surrounds a GPU in tests, as far as a CPU can tell; what must be put on one."""

import re
import warnings
from pathlib import Path

import pytest
import torch

import gpus


def settings() -> tuple[object, ...]:
    return (
        torch.cuda.is_available(),
        torch.Generator,
        torch.backends.cudnn.allow_tf32,
        torch.get_deterministic_debug_mode(),
        list(warnings.filters),
    )


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_real_gpu_is_there_in_its_block_alone(deterministic: bool) -> None:
    before = settings()
    with gpus.real_gpu(deterministic):
        assert torch.cuda.is_available() and not torch.backends.cudnn.allow_tf32
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        warnings.warn("of a driver", stacklevel=1)
    assert settings() == before


def test_random_numbers_are_those_of_the_cpu_wherever_they_are_drawn() -> None:
    host = torch.Generator().manual_seed(3)
    expected = torch.randn(4, generator=host), torch.randperm(4, generator=host)
    with gpus.real_gpu():
        there = torch.Generator("cuda").manual_seed(3)
        assert there.device.type == "cuda"
        # "meta" stands for a device that is not the CPU, whose generator `there` would not be.
        assert torch.randn(4, generator=there, device="meta").device.type == "meta"
        there.manual_seed(3)
        found = [f(4, generator=there, device="cpu") for f in (torch.randn, torch.randperm)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_waits_are_the_warnings_of_torch_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with gpus.real_syncs() as syncs:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
    assert len(syncs) == 2 and modes == ["warn", "default"]


def test_without_a_gpu_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus.real() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(gpus.WORKSPACE, "")  # what it was comes back after the test
    monkeypatch.delenv(gpus.WORKSPACE)
    assert gpus.real() is gpus.REAL and gpus.os.environ[gpus.WORKSPACE] == ":4096:8"


ON_A_GPU = {  # each module that asks for the device, and the tests that put it on a GPU
    "figures/neighbours.py": "figures/test_neighbours.py",
    "parity/fixture.py": "parity/test_parity_on_a_gpu.py",
    "sampling/model.py": "sampling/test_model.py",
    "scoring/brought.py": "scoring/test_scores_on_a_pretend_gpu.py",
    "scoring/paired.py": "scoring/test_scores_on_a_pretend_gpu.py",
    "stages/diagnose.py": "stages/test_diagnose.py",
    "stages/heldout.py": "stages/test_heldout.py",
    "stages/rebase.py": "tokenizers/test_on_a_pretend_gpu.py",
    "stages/reconstruct.py": "stages/test_score_stage.py",
    "stages/reference.py": "stages/test_captioned_scores.py",
    "stages/sample.py": "stages/test_sample.py",
    "stages/score.py": "stages/test_score_stage.py",
    "stages/tokenizer.py": "tokenizers/test_on_a_pretend_gpu.py",
    "stages/tokens.py": "tokenizers/test_published_tokenizers.py",
    "text/frozen.py": "text/test_frozen_on_a_gpu.py",
    "training/trainer.py": "training/test_pretend_gpu.py",
}


def test_every_module_that_asks_for_the_device_is_put_on_a_gpu() -> None:
    tests = Path(__file__).parent
    source = tests.parent / "src" / "nextbasis"
    asks = re.compile(r"provenance import \(?[\w\s,]*\bdevice\b")
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if asks.search(path.read_text(encoding="utf-8"))
    }
    assert found == ON_A_GPU.keys()
    for name in set(ON_A_GPU.values()):
        assert "gpu: Gpu" in (tests / name).read_text(encoding="utf-8"), name
