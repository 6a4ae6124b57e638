"""Settings of the tests: one thread, no clock, slow files first."""

import os
from collections import Counter

import pytest
import torch
from hypothesis import settings

import gpus

torch.set_num_threads(1)
settings.register_profile("nextbasis", deadline=None, derandomize=True)
settings.load_profile("nextbasis")


@pytest.fixture(scope="session", autouse=True)
def _only_our_own_process_warns_of_missing_encodings() -> None:
    """What tests start writes no warning of its libraries' encodings among what it says."""
    os.environ.pop("PYTHONWARNDEFAULTENCODING", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, then those of many, so that no worker ends with a long one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    size = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -size[item.path]))


@pytest.fixture(params=["pretend", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> gpus.Gpu:
    """A GPU that is there in its own blocks and nowhere else."""
    if request.param == "pretend":
        return gpus.PRETEND
    if (found := gpus.real()) is None:
        pytest.skip("torch finds no CUDA device here")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return found
