"""The device under test: what it is, how fast it multiplies, and how to time it."""

import gc
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch.nn import functional as F

from nextbasis.plan.runs import ASSUMPTIONS
from nextbasis.support.provenance import processor

SAME_CHIP = {"H200": "H100"}  # by its name in config/plan.yaml: only the memory differs
SLOWER = ("PCIe", "NVL")  # boards whose chip has the name of a faster one
SIDE, PRODUCTS = 8192, 10  # of a square product, and how many are timed together
ROUNDS, SECONDS = 3, 10.0  # at most; no further round begins after so long


def gpu() -> torch.device:
    """The first GPU.

    Raises: ValueError where there is none.
    """
    if not torch.cuda.is_available():
        raise ValueError(
            f"--gpu needs a CUDA device and torch {torch.__version__} sees none: nothing measured"
        )
    return torch.device("cuda", 0)


@dataclass(frozen=True)
class Accelerator:
    """A GPU; on a CPU everything here works as well, and memory is not known."""

    device: torch.device

    @property
    def is_gpu(self) -> bool:
        """Whether it has memory of its own, and works while the host goes on."""
        return self.device.type == "cuda"

    def start(self) -> None:
        """Forget what earlier work left, its peak of memory included."""
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def wait(self) -> None:
        """Until all that it was told is done."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def peak(self) -> int | None:
        """Bytes of tensors at most since the start."""
        return torch.cuda.max_memory_allocated(self.device) if self.is_gpu else None

    def memory(self) -> int | None:
        """Bytes that it has."""
        if not self.is_gpu:
            return None
        return torch.cuda.get_device_properties(self.device).total_memory

    def timed(self, call: Callable[[], Any]) -> float:
        """Seconds of a call, from an idle device to an idle device."""
        self.wait()
        started = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - started

    def rounds(self, call: Callable[[], Any]) -> list[float]:
        """Seconds of several calls, or of one if it takes long."""
        seconds = [self.timed(call)]
        while len(seconds) < ROUNDS and sum(seconds) < SECONDS:
            seconds.append(self.timed(call))
        return seconds

    def product_rate(self, dtype: torch.dtype, side: int = SIDE) -> float:
        """TFLOP/s of square products."""
        a = torch.randn(side, side, device=self.device).to(dtype)

        def call() -> None:
            for _ in range(PRODUCTS):
                F.linear(a, a)

        self.timed(call)
        return PRODUCTS * 2.0 * side**3 / self.timed(call) / 1e12

    def environment(self, side: int = SIDE) -> dict[str, Any]:
        """Name, driver, versions, memory, peak by data sheet and rate of products."""
        found: dict[str, Any] = {
            "device": processor(),
            "driver": driver() if self.is_gpu else None,
            "cuda": torch.version.cuda,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "float32_products": torch.get_float32_matmul_precision(),
            "memory_bytes": self.memory(),
        }
        found["peak_tflops"] = peak_tflops(found["device"])
        rates = {"bfloat16": torch.bfloat16, "float32": torch.float32}
        return found | {
            "product_tflops": {name: self.product_rate(t, side) for name, t in rates.items()}
        }


def driver() -> str | None:
    """Version of the driver, as nvidia-smi tells it; nothing if it does not."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(asked, capture_output=True, encoding="utf-8", timeout=30, check=False)
    return told.stdout.partition("\n")[0].strip() or None


def peak_tflops(name: str) -> float | None:
    """Dense bfloat16 peak of a GPU that config/plan.yaml knows, by the name it gives itself."""
    peaks = yaml.safe_load(ASSUMPTIONS.read_text(encoding="utf-8"))["gpus"]
    peaks |= {other: peaks[chip] for other, chip in SAME_CHIP.items()}
    if any(board in name for board in SLOWER):
        return None
    return next((float(peak) for chip, peak in peaks.items() if chip in name), None)
