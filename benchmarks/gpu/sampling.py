"""Sampling at the official settings, tokens alone: the decoder of images is not in these rates."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.gpu.accelerator import Accelerator
from benchmarks.gpu.graphs import Record, cuda_graph, recorded_head
from nextbasis.families import find
from nextbasis.families.common.execution import compile_blocks, precision
from nextbasis.families.common.generator import Generator, build
from nextbasis.families.common.noise import ImageNoise
from nextbasis.plan import flops
from nextbasis.plan.runs import Run

BATCH = 128  # images, as in the published rates
FEW = 2  # iterations of a first call, where one to the end would take long


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How the same tokens are sampled; no `precision` is the recipe's own."""

    precision: str = ""
    compile: bool = False
    graph: bool = False  # MAR's head as a CUDA graph


def generator_of(run: Run) -> Generator:
    """A fresh model, whose head predicts something."""
    config = run.config
    torch.manual_seed(0)
    made = build(config.model, config.basis, config.order, run.spec)
    find(config.model.family).part("speed").prepare(made.backbone)
    return made.eval()


def first_call(sampler: Any, variant: Variant) -> Any:
    """The sampler with few iterations if it has many, and nothing depends on their shapes."""
    if variant.compile or not hasattr(sampler, "num_iter"):
        return sampler
    return replace(sampler, num_iter=min(FEW, sampler.num_iter))


@torch.no_grad()
def sampling_row(
    run: Run,
    variant: Variant,
    accelerator: Accelerator,
    batch: int = BATCH,
    record: Record = cuda_graph,
) -> dict[str, Any]:
    """Rate and memory of a run's sampler, with its cache of keys where the family has one."""
    told = {"batch_size": batch, "compile": variant.compile}
    told |= {"precision": variant.precision} if variant.precision else {}
    sampler: Any = replace(run.evals[0].sampler, **told)
    accelerator.start()
    generator = generator_of(run).to(accelerator.device)
    if variant.compile:
        compile_blocks(generator.backbone)
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(run.spec.num_classes, (batch,), generator=random)
    labels = labels.to(accelerator.device)

    def call(settings: Any = sampler) -> None:
        noise = ImageNoise(0, range(batch), accelerator.device)
        with precision(settings.precision, accelerator.device):
            generator.sample(labels, noise, settings)

    with recorded_head(record) if variant.graph else nullcontext():
        first = accelerator.timed(lambda: call(first_call(sampler, variant)))
        seconds = accelerator.rounds(call)
    return {
        "batch_size": batch,
        "precision": sampler.precision,
        "guidance": sampler.guidance,
        "warm_up_seconds": first,
        "images_a_round": batch,
        "seconds": seconds,
        "flops_per_image": flops.sampling(run.config.model, run.spec, sampler).total,
        "peak_bytes": accelerator.peak(),
    }
