"""What a run costs: parameters, FLOPs, memory, GPU-hours, and what its schedules do."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from nextbasis.basis.transform import BasisTransform
from nextbasis.config import TrainConfig, TrainStage
from nextbasis.families import find
from nextbasis.families.common.generator import build_backbone
from nextbasis.pipeline.catalog import SCALES
from nextbasis.plan import basis_flops, flops, memory
from nextbasis.plan.flops import Flops
from nextbasis.plan.runs import ASSUMPTIONS, Run
from nextbasis.plan.runtimes import MOST, minutes
from nextbasis.support.yamls import check_keys, read_keys

SECONDS = 3600  # in an hour
_COUNTED: dict[str, dict[str, int]] = {}  # parameters of a backbone by what it is built from
SLOW_EMA = 0.1  # share of the training from which an EMA's half-life is worth a note


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What config/plan.yaml says of GPUs, and how many may train one model."""

    gpus: dict[str, float]  # peak TFLOP/s by name
    utilisation: dict[str, dict[str, float]]  # training and sampling, by family
    counts: tuple[int, ...]  # the first one is taken with which a training ends in time

    def hours(self, work: float, kind: str, family: str) -> dict[str, float]:
        """GPU-hours that this many FLOPs take on each GPU."""
        share = self.utilisation[kind][family]
        return {name: work / (peak * 1e12 * share) / SECONDS for name, peak in self.gpus.items()}


def assumptions(scale: str, count: int | None) -> Assumptions:
    """The assumptions of config/plan.yaml; without `count` a training may have several nodes.

    The scale's resources.yaml says how many GPUs a node has.
    """
    given = read_keys(ASSUMPTIONS)
    names = {field.name for field in fields(Assumptions)} - {"counts"}
    check_keys(ASSUMPTIONS, given, sorted({*names, "nodes", "page"}))
    resources = read_keys(SCALES / scale / "resources.yaml")
    usual = max(1, (resources["default"] | resources.get("train", {}))["gpu"])
    nodes = given.pop("nodes")
    given.pop("page")  # plan.paper's
    return Assumptions(**given, counts=(count,) if count else tuple(n * usual for n in nodes))


def estimate(run: Run, assumed: Assumptions) -> dict[str, Any]:
    """All that is known of a run's cost, as plain values; FLOPs and bytes are per image or GPU."""
    config, spec = run.config, run.spec
    model, train = config.model, config.train
    parameters = count_parameters(run)
    work = flops.training(model, spec, train.recompute)
    gpus, training, hours = _training(run, work, assumed)
    sampling = [_sampling(run, evaluation, assumed) for evaluation in run.evals]
    return {
        "run": config.key,
        "family": model.family,
        "parameters": parameters,
        "tokens": spec.num_tokens,
        "sequence": find(model.family).part("cost").sequence(model, spec),
        "training_flops": training,
        "steps": train.steps,
        "batch_size": train.batch_size,
        "images": train.steps * train.batch_size,
        "gpus": gpus,
        "memory": _memory(run, parameters["total"], gpus),
        "training_hours": hours,
        "sampling": sampling,
        "ema_half_life": half_life(train.ema_decay),
        "notes": notes(config),
    }


def _training(
    run: Run, work: Flops, assumed: Assumptions
) -> tuple[int, dict[str, float], dict[str, float]]:
    """GPUs, FLOPs per image and GPU-hours; a step of A is done on every GPU."""
    config, train = run.config, run.config.train
    images = train.steps * train.batch_size
    for gpus in assumed.counts:
        batch = math.ceil(train.batch_size / gpus)
        basis = basis_flops.training(config.basis, config.model, run.spec, batch)
        training = asdict(work) | {"basis": basis, "total": work.total + basis}
        hours = assumed.hours(training["total"] * images, "training", config.model.family)
        if minutes(max(hours.values()) / gpus) < MOST:
            break
    return gpus, training, hours


def _sampling(run: Run, evaluation: Any, assumed: Assumptions) -> dict[str, Any]:
    sampler, family = evaluation.sampler, run.config.model.family
    work = flops.sampling(run.config.model, run.spec, sampler)
    return {
        "eval": evaluation.key,
        "images": sampler.num_images,
        "flops": asdict(work) | {"total": work.total},
        "hours": assumed.hours(work.total * sampler.num_images, "sampling", family),
    }


def count_parameters(run: Run) -> dict[str, int]:
    """In all and by part, counted on a model without memory; a learned A is one."""
    config, spec = run.config, run.spec
    name = repr((config.model, spec))
    if (counted := _COUNTED.get(name)) is None:
        with torch.device("meta"):
            backbone = build_backbone(config.model, config.order, spec)
        counted = {"head": _head(backbone), "modulation": _modulation(backbone)}
        counted = _COUNTED[name] = counted | {"total": _count(backbone)}
    basis = _basis(run) if config.basis.learned else 0
    parts = {"head": counted["head"], "modulation": counted["modulation"], "basis": basis}
    total = counted["total"] + basis
    return {"total": total, "transformer": total - sum(parts.values())} | parts


def _basis(run: Run) -> int:
    shape = basis_flops.layout(run.config.model, run.spec)
    with torch.device("meta"):
        return _count(BasisTransform(run.config.basis, shape, run.spec.num_rows))


def _head(backbone: nn.Module) -> int:
    head = getattr(backbone, "head", None)
    return _count(head) if head is not None else 0


def _modulation(backbone: nn.Module) -> int:
    """adaLN outside the head."""
    names = ("adaLN_modulation", "ada_lin", "final_modulation")
    return sum(
        _count(part)
        for name, part in backbone.named_modules()
        if name.endswith(names) and not name.startswith("head.")
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _memory(run: Run, parameters: int, gpus: int) -> dict[str, Any]:
    """Bytes on each GPU, activations both kept and recomputed."""
    train = run.config.train
    batch = math.ceil(train.batch_size / gpus)
    sizes = memory.state(train.optimizer)
    state = {name: size * parameters for name, size in sizes.items()}
    if train.precision == "bfloat16":
        state["bfloat16_weights"] = memory.BYTES["bfloat16"] * parameters
    kept, recomputed = (
        batch * memory.activations(run.config.model, run.spec, train.precision, recompute)
        for recompute in (False, True)
    )
    total = sum(state.values())
    return state | {
        "batch_per_gpu": batch,
        "activations": kept,
        "activations_recomputed": recomputed,
        "total": total + kept,
        "total_recomputed": total + recomputed,
    }


def half_life(decay: float) -> float | None:
    """Steps after which an EMA has forgotten half; None if there is no averaging."""
    return math.log(0.5) / math.log(decay) if 0 < decay < 1 else None


def notes(config: TrainStage) -> list[str]:
    """What is easily overlooked in the schedules: rate, annealing, moving average."""
    train, found = config.train, []
    if train.decay_start >= 1:
        found.append("rate stays at its peak to the end")
    found += find(config.model.family).part("cost").notes(config)
    return found + _ema_note(train)


def _ema_note(train: TrainConfig) -> list[str]:
    steps = half_life(train.ema_decay)
    if steps is None:
        return ["no EMA"]
    share = steps / train.steps
    return [f"EMA half-life is {share:.0%} of the steps"] if share > SLOW_EMA else []
