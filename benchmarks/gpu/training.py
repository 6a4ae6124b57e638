"""Training steps at a paper's size, as stage train makes them, on synthetic tokens."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.accelerator import Accelerator
from benchmarks.loader import LOADER, write_set
from nextbasis.data.shards import FOLDER
from nextbasis.data.tokens import TokenCache
from nextbasis.plan import flops
from nextbasis.plan.estimate import assumptions, estimate
from nextbasis.plan.runs import Run
from nextbasis.training.trainer import Trainer

BATCH = 256  # images of a GPU: 2048 over eight, as the papers' scales are planned
IMAGES = 1024  # of the synthetic set
ROOM = 0.7  # of the memory, which the plan may fill: what it counts are tensors
WARMUPS, STEPS = 3, 5  # before the first round, and in each


def synthetic_tokens(kind: str, folder: Path, images: int = IMAGES) -> TokenCache:
    """Random tokens of ImageNet's shape: ids, or moments of latents."""
    row = next(row for row in LOADER if row.index["layout"]["kind"] == kind)
    cache, random = write_set(row, folder, images, fill=True), np.random.default_rng(0)
    for path in (folder / FOLDER).iterdir():
        array = np.lib.format.open_memmap(path, mode="r+")
        if kind == "ids":
            array[:] = random.integers(row.index["layout"]["sizes"][0], size=array.shape)
        else:
            array[:] = random.normal(size=array.shape)
        array.flush()
    return cache


def with_batch(run: Run, batch: int, **changes: Any) -> Run:
    """The run in bfloat16 on one GPU, with so many images a step."""
    told = {"batch_size": batch, "precision": "bfloat16", "parallel": "ddp"} | changes
    return replace(run, config=replace(run.config, train=replace(run.config.train, **told)))


def planned_bytes(run: Run) -> int:
    """Memory of the run on one GPU, by `nextbasis plan`."""
    told = estimate(run, assumptions(run.config.scale, 1))["memory"]
    return told["total_recomputed" if run.config.train.recompute else "total"]


def fitting_batch(run: Run, memory: int | None, batch: int = BATCH) -> int:
    """The batch, halved until the plan leaves room."""
    if memory is not None:
        while batch > 1 and planned_bytes(with_batch(run, batch)) > ROOM * memory:
            batch //= 2
    return batch


def training_row(
    run: Run, cache: TokenCache, compiled: bool, accelerator: Accelerator, batch: int = BATCH
) -> dict[str, Any]:
    """Rate, share of the device's peak and memory of a run's steps, data and average included."""
    batch = fitting_batch(run, accelerator.memory(), batch)
    run = with_batch(run, batch, compile=compiled)
    accelerator.start()
    trainer = Trainer(run.config, cache)
    trainer.generator.train()

    def steps(count: int) -> None:
        for _ in range(count):
            trainer.advance()

    first = accelerator.timed(lambda: steps(WARMUPS))
    seconds = accelerator.rounds(lambda: steps(STEPS))
    trainer.log()
    work = flops.training(run.config.model, run.spec, recompute=False).total
    return {
        "batch_size": batch,
        "precision": run.config.train.precision,
        "warm_up_seconds": first,
        "images_a_round": batch * STEPS,
        "seconds": seconds,
        "flops_per_image": work,
        "peak_bytes": accelerator.peak(),
        "planned_bytes": planned_bytes(run),
        "loss": trainer.rows[-1]["loss"],
        "parameters": sum(p.numel() for p in trainer.generator.backbone.parameters()),
    }
