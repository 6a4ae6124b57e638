"""What A costs in a training step, by structure and number of tokens, beside the step itself.

A is BAR's default (config/basis/bar.yaml) in 32-bit floats, the step that of xAR-B and MAR-B at
their published widths. CPU seconds of one thread, next to FLOPs by formula.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from benchmarks.measure import measure
from benchmarks.work import IDENTITY, ORDER, labels_of
from nextbasis.basis.objective import Seen, total_loss
from nextbasis.basis.projection import clamp
from nextbasis.basis.transform import BasisTransform
from nextbasis.config import BasisConfig
from nextbasis.families import find
from nextbasis.families.common.generator import build
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES
from nextbasis.families.mar.config import MARConfig
from nextbasis.families.mar.cost import hidden_tokens
from nextbasis.families.xar.config import XARConfig
from nextbasis.plan import basis_flops, flops

CONFIG = Path(__file__).parents[1] / "config"
BATCH = 8  # images of a step; more make the share of A smaller, what it does once a step is divided
PAPER_BATCH = 256  # images per GPU: 2048 over eight
CHANNELS = 16
SIDES = {"basis-64": 8, "basis-256": 16, "basis-1024": 32, "basis-4096": 64}
STRUCTURES = {"dense": 0, "kronecker": 0, "blocks": 0, "householder": 32}  # reflections
FAMILIES = {"xar": XARConfig, "mar": MARConfig}
LARGEST_STEP = LARGEST_SVD = 1024  # tokens up to which steps and projections are measured
ONCE = 4096  # tokens from which operations are timed only once, without a warm-up
STEP_ONCE = 256  # the same of steps
SVD_LIMIT = 0.05  # share of steps that may make a projection: counted in full
GOAL = 0.03  # of a training step, for the dense A at GOAL_TOKENS
GOAL_TOKENS = 1024


def basis_config(structure: str) -> BasisConfig:
    """BAR's default, with another structure."""
    given = yaml.safe_load((CONFIG / "basis/bar.yaml").read_text(encoding="utf-8"))
    return BasisConfig(**given | {"structure": structure, "reflections": STRUCTURES[structure]})


def model_config(family: str) -> MARConfig | XARConfig:
    """The released model of size B."""
    recipe = find(family).recipes / f"model/paper/{family}_b.yaml"
    given = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    return FAMILIES[family](**given)


def token_spec(side: int) -> TokenSpec:
    """Tokens of KL-16 on a square grid."""
    return TokenSpec.of_grid((side, side), channels=CHANNELS, num_classes=NUM_CLASSES)


def layout_of(structure: str, family: str, side: int) -> tuple[int, int]:
    """Cells and their tokens for a structured A of xAR, else the grid."""
    if structure == "dense" or family == "mar":
        return side, side
    model = model_config(family)
    assert isinstance(model, XARConfig)
    cells = model.cells_per_side**2
    return cells, side**2 // cells


def seconds(call: Callable[[], Any], repeats: int, once: bool) -> float:
    """Median CPU seconds of a call, which runs only `once` and without a warm-up if it is long."""
    timing = measure(call, 1, warmups=0) if once else measure(call, repeats)
    return statistics.median(timing.cpu)


def basis_of(structure: str, layout: tuple[int, int]) -> BasisTransform:
    """A as far from the identity as needs all of the certificate, and no projection."""
    basis = BasisTransform(basis_config(structure), layout)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in basis.parameters():
            noise = torch.randn(parameter.shape, generator=random)
            parameter.add_(noise, alpha=0.08 / parameter.shape[-1] ** 0.5)
    return basis


@cache
def operations(structure: str, layout: tuple[int, int], repeats: int) -> dict[str, float | None]:
    """CPU seconds of what needs no model; None where nothing is to do, or it would take minutes."""
    basis, n = basis_of(structure, layout), layout[0] * layout[1]
    x = torch.randn(BATCH, n, CHANNELS, generator=torch.Generator().manual_seed(1))
    matrices = [factor.detach() for factor in basis.structure.factors()]

    def apply() -> None:
        basis(x).backward(x)

    def project() -> list[Tensor]:
        return [clamp(factor, 0.5, 1.5) for factor in matrices]

    calls: dict[str, Callable[[], Any] | None] = {
        "apply": apply,
        "regulariser": (lambda: basis.regulariser().backward()) if matrices else None,
        "certificate": basis.project_ if matrices else None,
        "projection": project if matrices and matrices[0].shape[-1] <= LARGEST_SVD else None,
        "inverse": lambda: basis.invert(x),
    }
    timed = {
        name: seconds(call, repeats, n >= ONCE) if call else None for name, call in calls.items()
    }
    assert not basis.num_projected, "the certificate should have held"
    return timed


def objective(structure: str, family: str, side: int, repeats: int) -> float:
    """CPU seconds of BAR's residual objective, forward and backward, without the host's loss."""
    basis, n = basis_of(structure, layout_of(structure, family, side)), side**2
    model, random = model_config(family), torch.Generator().manual_seed(2)
    levels = model.head_batch_mul if isinstance(model, MARConfig) else 1
    shape = (BATCH * levels, n, CHANNELS)
    x, y, error = (torch.randn(shape, generator=random) for _ in range(3))
    seen = Seen(x=x, y=y.requires_grad_(), error=error.requires_grad_(), snr=torch.ones(len(x), n))

    def call() -> None:
        value, _ = total_loss(
            basis.config, error.square().mean(), seen, basis.matrix(), basis.step_of
        )
        value.backward()

    return seconds(call, repeats, n >= ONCE)


def training_step(family: str, side: int, repeats: int) -> float:
    """CPU seconds of loss and gradients for one image, without A's and without the optimiser."""
    torch.manual_seed(0)
    model, spec = model_config(family), token_spec(side)
    generator = build(model, IDENTITY, ORDER, spec).train()
    random = torch.Generator().manual_seed(3)
    tokens = torch.randn(1, spec.num_tokens, CHANNELS, generator=random)
    labels, draws = labels_of(1), generator.backbone.draw(1, 0.0, random)
    if isinstance(model, MARConfig):
        hidden = hidden_tokens(model, spec)
        draws = replace(draws, num_hidden=round(statistics.fmean(hidden)))

    def call() -> None:
        generator.loss(tokens, labels, draws).value.backward()

    return seconds(call, repeats, spec.num_tokens >= STEP_ONCE)


def in_flops(structure: str, family: str, side: int) -> dict[str, float | None]:
    """FLOPs of every operation for a step of BATCH images, by formula."""
    config, model, spec = basis_config(structure), model_config(family), token_spec(side)
    costs = basis_flops.costs(config, model, spec)
    cubes = [count * size**3 for count, size in basis_flops.factors(config, model, spec)]
    counted: dict[str, float | None] = {name: cost.at(BATCH) for name, cost in costs.items()}
    # Singular value decomposition by QR, then by bidiagonals (Golub and Van Loan), and a product.
    counted["projection"] = 24.0 * sum(cubes) or None
    counted["inverse"] = 2.0 * side**6 + BATCH * 2.0 * side**4 * CHANNELS
    return counted


def share_in_flops(structure: str, family: str, side: int, batch: int) -> float:
    """Of a training step without A: what A adds, projections apart."""
    model, spec = model_config(family), token_spec(side)
    added = basis_flops.training(basis_config(structure), model, spec, batch)
    return added / flops.training(model, spec, recompute=False).total


def cost(structure: str, family: str, side: int, step: float, repeats: int) -> dict[str, Any]:
    """One line of the table; `step` is the CPU seconds of the model's step for an image."""
    layout = layout_of(structure, family, side)
    cpu = dict(operations(structure, layout, repeats))
    cpu["objective"] = objective(structure, family, side, repeats)
    each_step = ("apply", "objective", "regulariser", "certificate")
    added = sum(cpu[name] or 0.0 for name in each_step) + SVD_LIMIT * (cpu["projection"] or 0.0)
    return {
        "tokens": side**2,
        "family": family,
        "structure": structure,
        "batch": BATCH,
        "cpu_seconds": cpu,
        "flops": in_flops(structure, family, side),
        "share_of_flops": share_in_flops(structure, family, side, BATCH),
        "share_of_flops_at_paper_batch": share_in_flops(structure, family, side, PAPER_BATCH),
        "share_of_cpu": added / (BATCH * step),
    }


def basis_costs(keys: list[str], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Steps of the models and costs of A, for the numbers of tokens that are asked for."""
    steps, rows, rate = [], [], dict.fromkeys(FAMILIES, 0.0)
    for key in keys:
        side = SIDES[key]
        for family in FAMILIES:
            print(f"{key} {family} ...", file=sys.stderr, flush=True)
            work = flops.training(model_config(family), token_spec(side), recompute=False).total
            measured = side**2 <= LARGEST_STEP
            if measured:
                step = training_step(family, side, repeats)
            else:  # at the rate of the largest step that is measured
                step = work / (rate[family] or _rate(family, repeats))
            rate[family] = work / step
            steps.append(
                {
                    "tokens": side**2,
                    "family": family,
                    "flops": work,
                    "cpu_seconds": step,
                    "measured": measured,
                }
            )
            rows += [cost(structure, family, side, step, repeats) for structure in STRUCTURES]
    return {"steps": steps, "rows": rows}


def _rate(family: str, repeats: int) -> float:
    """FLOPs in a CPU second of the largest step that is measured."""
    side = max(s for s in SIDES.values() if s**2 <= LARGEST_STEP)
    work = flops.training(model_config(family), token_spec(side), recompute=False).total
    return work / training_step(family, side, repeats)
