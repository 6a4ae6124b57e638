"""Timing: CPU and wall seconds of a call, and how fast the machine multiplies matrices."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nextbasis.families.common.linear import linear
from nextbasis.support.provenance import processor

Product = Callable[[Tensor, Tensor, None], Tensor]  # of x (r, k) and W (m, k): x W^T

# Rows, inner size and columns: a linear layer of these models, their MLP, and a large square.
SHAPES = ((2048, 256, 256), (2048, 256, 1024), (2048, 2048, 2048))
MLP_SHAPE = SHAPES[1]
MATMUL_SECONDS = 0.05  # of repeated products per rate


@dataclass(kw_only=True)
class Timing:
    """Seconds of each repeat of a call, and the fp32 matmul rate beside each."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    gflops: list[float] = field(default_factory=list)

    def add(self, call: Callable[[], Any]) -> None:
        """Time one call; CPU seconds are the whole process's, so threads count in full."""
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)
        self.gflops.append(matmul_rate(MLP_SHAPE, torch.float32))


def measure(call: Callable[[], Any], repeats: int, warmups: int = 1) -> Timing:
    """Time `call` some times."""
    timing = Timing()
    for _ in range(warmups):
        call()
    for _ in range(repeats):
        timing.add(call)
    return timing


def measure_pairs(
    one: Callable[[], Any], other: Callable[[], Any], rounds: int
) -> tuple[Timing, Timing]:
    """Time two calls in turn, so that what else the machine does meets both alike."""
    first, second = Timing(), Timing()
    one(), other()
    for _ in range(rounds):
        first.add(one)
        second.add(other)
    return first, second


@torch.no_grad()
def matmul_rate(
    shape: tuple[int, int, int], dtype: torch.dtype, product: Product = F.linear
) -> float:
    """GFLOP per CPU second of the product of two matrices; the median over short bursts."""
    rows, inner, columns = shape
    a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype)
    flops, seconds = 2.0 * rows * inner * columns, []
    product(a, b, None)
    started = time.process_time()
    while not seconds or time.process_time() - started < MATMUL_SECONDS:
        before = time.process_time()
        product(a, b, None)
        seconds.append(time.process_time() - before)
    return flops / statistics.median(seconds) / 1e9


def machine() -> dict[str, Any]:
    """What the rates belong to: processor, versions, threads and matmul rates."""
    kinds = {
        "float32, torch": (torch.float32, F.linear),
        "float32, this package": (torch.float32, linear),
        "bfloat16": (torch.bfloat16, F.linear),
    }
    rates = {
        name: {"x".join(map(str, shape)): matmul_rate(shape, *kind) for shape in SHAPES}
        for name, kind in kinds.items()
    }
    return {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "matmul_gflop_per_cpu_second": rates,
    }
