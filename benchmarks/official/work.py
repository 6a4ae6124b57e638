"""The work of each row, done by the official code: one training step, or one sample."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from benchmarks.official.checkout import on_the_cpu
from benchmarks.work import RATE, labels_of, speed_of_row, tokens_of
from nextbasis.families.common.execution import precision
from nextbasis.families.common.speed import Row

CPU = torch.device("cpu")


def is_known(row: Row) -> bool:
    """Whether there is a module here for the official code of the row's model."""
    return find_spec(f"benchmarks.official.{row.name}") is not None


def official(row: Row, root: Path) -> Callable[[], Any]:
    """What to time: of the checkout that `root` holds for the row's model.

    Raises: FileNotFoundError or ValueError naming the folder, and what was expected there.
    """
    part = import_module(f"benchmarks.official.{row.name}")
    torch.manual_seed(0)
    with part.CHECKOUT.expected(root) as folder, on_the_cpu():
        model = part.build(*part.CHECKOUT.load(folder), row)
        found = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        if found != (wanted := speed_of_row(row).PARAMETERS):
            raise ValueError(f"its model has {found:,} parameters where the work needs {wanted:,}")
    return (training_step if row.training else sampling_call)(row, model, part)


def training_step(row: Row, model: nn.Module, part: ModuleType) -> Callable[[], Any]:
    """One step as official ones are made: forward, backward, clipping, optimiser, moving average.

    The average is updated weight after weight.
    """
    speed = speed_of_row(row)
    batch, recipe = speed.TRAINING_BATCH, speed.RECIPE
    tokens, labels = tokens_of(speed.SPEC, batch), labels_of(batch)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optim = getattr(part, "optimiser", adamw)(model, recipe)
    decay = recipe.get("ema_decay", 0.0)
    average = [weight.detach().clone() for weight in weights] if decay else []
    model.train()

    def step() -> None:
        with on_the_cpu(), precision(row.precision, CPU):
            loss = part.loss(model, tokens, labels)
        loss.backward()
        if recipe["clip"]:
            clip_grad_norm_(weights, recipe["clip"])
        optim.step()
        optim.zero_grad()
        for kept, weight in zip(average, weights, strict=False):
            kept.mul_(decay).add_(weight.detach(), alpha=1 - decay)

    return step


def adamw(model: nn.Module, recipe: dict[str, Any], **how: Any) -> torch.optim.Optimizer:
    """AdamW that does not decay vectors; `how` says which of torch's loops it runs."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": recipe["weight_decay"]},
    ]
    return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, recipe["beta2"]), **how)


def sampling_call(row: Row, model: nn.Module, part: ModuleType) -> Callable[[], Any]:
    """All tokens of one batch of images."""
    labels = labels_of(speed_of_row(row).SAMPLING_BATCH)
    part.prepare(model.eval())

    @torch.no_grad()
    def call() -> torch.Tensor:
        with on_the_cpu(), precision(row.precision, CPU):
            return part.sample(model, labels, row)

    return call
