"""All rows of the GPU's benchmark, what matters most first, within a number of minutes."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.accelerator import SIDE, Accelerator
from benchmarks.gpu.graphs import Record, cuda_graph
from benchmarks.gpu.sampling import BATCH as SAMPLING_BATCH
from benchmarks.gpu.sampling import Variant, sampling_row
from benchmarks.gpu.training import BATCH as TRAINING_BATCH
from benchmarks.gpu.training import IMAGES, synthetic_tokens, training_row
from nextbasis.plan.runs import Run

SCALE, RUNS = "imagenet256", ("rar_b", "xar_b", "mar_b")  # the longest to sample last
MINUTES = 5.0  # after which no further row begins; one takes up to another


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured; tests measure less."""

    training: int = TRAINING_BATCH
    sampling: int = SAMPLING_BATCH
    images: int = IMAGES  # of the synthetic tokens
    product: int = SIDE


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: what is measured of which run, and how."""

    run: str
    what: str  # train or sample
    how: str
    measure: Callable[[], dict[str, Any]]

    @property
    def key(self) -> str:
        """Its name."""
        return "-".join((self.run.replace("_", "-"), self.what, self.how.replace(" ", "-")))


def rows(
    runs: Sequence[Run], accelerator: Accelerator, folder: Path, sizes: Sizes, record: Record
) -> list[Row]:
    """What is eager and official first, then what has to be compiled."""
    caches = {
        kind: synthetic_tokens(kind, folder / kind, sizes.images)
        for kind in {run.spec.kind for run in runs}
    }

    def train(run: Run, how: str, compiled: bool) -> Row:
        def measure() -> dict[str, Any]:
            cache = caches[run.spec.kind]
            return training_row(run, cache, compiled, accelerator, sizes.training)

        return Row(run=run.config.key, what="train", how=how, measure=measure)

    def sample(run: Run, how: str, variant: Variant) -> Row:
        def measure() -> dict[str, Any]:
            return sampling_row(run, variant, accelerator, sizes.sampling, record)

        return Row(run=run.config.key, what="sample", how=how, measure=measure)

    with_head = [run for run in runs if run.config.model.family == "mar"]
    bf16 = "bfloat16"
    return [
        *(train(run, "eager", False) for run in runs),
        *(sample(run, "official settings", Variant()) for run in runs),
        *(sample(run, "CUDA graph", Variant(graph=True)) for run in with_head),
        *(train(run, "compiled", True) for run in runs),
        *(
            sample(run, "in bfloat16", Variant(precision=bf16))
            for run in runs
            if run.evals[0].sampler.precision != bf16
        ),
        *(sample(run, "compiled", Variant(precision=bf16, compile=True)) for run in runs),
    ]


def rates(found: dict[str, Any], peak_tflops: float | None) -> dict[str, Any]:
    """Images per second, and the share of the device's peak that the model's own FLOPs take."""
    rate = found["images_a_round"] / statistics.median(found["seconds"])
    tflops = rate * found["flops_per_image"] / 1e12
    share = None if peak_tflops is None else tflops / peak_tflops
    return {"images_per_second": rate, "tflops": tflops, "utilisation": share}


def measure(
    runs: Sequence[Run],
    accelerator: Accelerator,
    minutes: float = MINUTES,
    sizes: Sizes | None = None,
    record: Record = cuda_graph,
) -> dict[str, Any]:
    """Everything, as plain values; a row that fails says why and the others go on.

    Tells how far it is on stderr.
    """
    sizes, started = sizes or Sizes(), time.monotonic()
    environment = accelerator.environment(sizes.product)
    records = []
    with tempfile.TemporaryDirectory() as name:
        todo = rows(runs, accelerator, Path(name), sizes, record)
        for number, row in enumerate(todo, 1):
            told: dict[str, Any] = {"key": row.key, "run": row.run, "what": row.what}
            told["how"] = row.how
            print(f"{number}/{len(todo)} {row.key} ...", end=" ", file=sys.stderr, flush=True)
            if time.monotonic() - started > 60 * minutes:
                told["left_out"] = f"{minutes:g} minutes were over"
            else:
                told |= _attempt(row, environment["peak_tflops"])
            records.append(told)
            print(_news(told), file=sys.stderr, flush=True)
    took = time.monotonic() - started
    return {"environment": environment, "rows": records, "seconds": took}


def _attempt(row: Row, peak_tflops: float | None) -> dict[str, Any]:
    """A row's numbers, or why there are none: no failure shall cost the others their device."""
    try:
        found = row.measure()
        return found | rates(found, peak_tflops)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return {"failed": f"{type(error).__name__}: {lines[0]}"}


def _news(told: dict[str, Any]) -> str:
    if "images_per_second" in told:
        return f"{told['images_per_second']:.2f} images per second"
    return told.get("failed") or f"left out: {told['left_out']}"
