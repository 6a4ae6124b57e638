"""The GPUs of tests that ask for `gpu`: the pretend one, and with `make test-gpu` a real one.

    def test_a_step_there_is_that_of_the_cpu(gpu: Gpu) -> None:
        here = step()
        with gpu(deterministic=True):
            there = step()  # nextbasis.support.provenance.device() says cuda
        assert there == pytest.approx(here, rel=gpu.rounding * 1e-5)

Outside of its block no code finds a GPU, so that `here` is the CPU's wherever the tests run.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

from cuda_rules import WORKSPACE
from pretend_gpu import DEVICE, HOST, Generator, counting_syncs, pretend_gpu


@dataclass(frozen=True)
class Gpu:
    """A GPU by the blocks in which it is there."""

    block: Callable[[bool], AbstractContextManager[None]]
    syncs: Callable[[], AbstractContextManager[list[Any]]]  # inside: times that the CPU waits
    is_real: bool

    @property
    def rounding(self) -> float:
        """By which tolerances are multiplied: another processor adds in another order."""
        return 10.0 if self.is_real else 1.0

    def __call__(self, deterministic: bool = False) -> AbstractContextManager[None]:
        """A block in which there is a GPU, DEVICE."""
        return self.block(deterministic)


class _HostDraws(TorchFunctionMode):
    """Random numbers of the CPU, moved: a GPU's generator has others of its own."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        asked = kwargs.get("device")
        if kwargs.get("generator") is None or asked is None:
            return func(*args, **kwargs)
        return func(*args, **kwargs | {"device": HOST}).to(asked)


@contextmanager
def real_gpu(deterministic: bool = False) -> Iterator[None]:
    """A block in which there is the GPU that torch finds; float32 has all its bits (no TF32).

    Warnings are shown and fail no test: a driver may have its own.
    """
    mode = torch.get_deterministic_debug_mode()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")
        stack.enter_context(patch.object(torch.cuda, "is_available", lambda: True))
        stack.enter_context(patch.object(torch, "Generator", Generator))
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        stack.enter_context(_HostDraws())
        torch.set_deterministic_debug_mode("error" if deterministic else "default")
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)


@contextmanager
def real_syncs() -> Iterator[list[Any]]:
    """What torch warns of where the CPU waits for the GPU."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
            found[:] = [each for each in found if "synchronizing" in str(each.message)]


PRETEND = Gpu(block=pretend_gpu, syncs=counting_syncs, is_real=False)
REAL = Gpu(block=real_gpu, syncs=real_syncs, is_real=True)


def real() -> Gpu | None:
    """The real GPU, ready for deterministic products; nothing where there is none."""
    if not torch.cuda.is_available():
        return None
    os.environ.setdefault(WORKSPACE, ":4096:8")  # read when the first product is made
    return REAL


__all__ = ["DEVICE", "PRETEND", "Gpu", "real", "real_gpu"]
