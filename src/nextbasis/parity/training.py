"""Training steps as the fixtures took them, with the package's own optimiser and average."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from nextbasis.config import TrainConfig
from nextbasis.families.common.generator import Backbone, Generator
from nextbasis.families.common.loss import Loss
from nextbasis.official import official_name
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.report import TOLERANCE
from nextbasis.training.optimiser import (
    MovingAverage,
    optimiser,
    rate_factor,
    set_rates,
    weight_decay,
)


def recipe(**values: Any) -> TrainConfig:
    """A training recipe with a constant rate where `values` do not say otherwise."""
    constant = {"warmup": 0.0, "decay_start": 1.0, "min_lr": 0.0, "ema_decay": 0.0}
    rest = {"batch_size": 1, "log_every": 1, "weight_decay": 0.0}
    rest |= {"checkpoint_minutes": 0.0, "nan_budget": 0}
    plain: dict[str, Any] = {"precision": "float32", "recompute": False, "compile": False}
    plain |= {"parallel": "ddp"}
    betas = {"beta1": 0.9, "beta2": 0.95, "clip": 1.0}
    return TrainConfig(**plain | constant | rest | betas | values)


def recipe_of(settings: dict[str, Any]) -> TrainConfig:
    """The recipe that a fixture's metadata states."""
    beta1, beta2, *third = settings["betas"]  # Adan has three
    adan = {"optimizer": "adan", "beta3": third[0]} if third else {}
    return recipe(
        steps=settings["steps"],
        lr=settings["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=settings["weight_decay"],
        clip=settings["clip"],
        ema_decay=settings.get("ema_rate", 0.0),
        **adan,
    )


def train(
    model: Backbone, config: TrainConfig, loss_of: Callable[[int], Loss], steps: int = 0
) -> tuple[torch.Tensor, torch.Tensor, nn.Module]:
    """Losses, gradient norms before clipping, and the moving average of all steps, or the first."""
    generator = Generator(model, None)
    optim = optimiser(generator, config)
    ema = MovingAverage(generator, config.ema_decay)
    losses, norms = [], []
    for step in range(steps or config.steps):
        optim.zero_grad(set_to_none=True)
        loss = loss_of(step).value
        loss.backward()
        norms.append(clip_grad_norm_(generator.parameters(), config.clip or math.inf).item())
        set_rates(optim, config, step)
        optim.step()
        ema.update(generator)
        losses.append(loss.item())
    averaged = ema.module
    assert isinstance(averaged, Generator)
    return torch.tensor(losses).double(), torch.tensor(norms).double(), averaged.backbone


def check_training(
    fixture: Fixture,
    family: str,
    model: Backbone,
    loss_of: Callable[[int], Loss],
    tolerance: float = TOLERANCE,
) -> None:
    """Compare train.{losses,grad_norms,param.*,ema.*}; changes the model.

    `tolerance` is that of the weights: Adam magnifies rounding of gradients that are nearly zero.
    """
    config = recipe_of(fixture.told("train"))
    losses, norms, average = train(model, config, loss_of)
    fixture.check("train.losses", losses)
    fixture.check("train.grad_norms", norms)
    for kind, source in (("param", model), ("ema", average)):
        for name, parameter in source.named_parameters():
            output = f"train.{kind}.{official_name(family, name)}"
            fixture.check(output, parameter, tolerance=tolerance)


def check_gradients(fixture: Fixture, family: str, model: nn.Module) -> None:
    """Compare grads.* with the gradients that the model holds."""
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        fixture.check(f"grads.{official_name(family, name)}", parameter.grad)


def rates(config: TrainConfig, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Learning rates and weight decays of the first steps."""
    factors = [rate_factor(config, step) for step in range(steps)]
    decays = [weight_decay(config, step) for step in range(steps)]
    return config.lr * torch.tensor(factors).double(), torch.tensor(decays).double()


def check_rates(fixture: Fixture, name: str, config: TrainConfig, epochs: int) -> None:
    """Compare a table of learning rates at lr.epochs of a training."""
    steps = (fixture["lr.epochs"] / epochs * config.steps).round().long().tolist()
    rates = [config.lr * rate_factor(config, step) for step in steps]
    fixture.check(name, torch.tensor(rates, dtype=torch.float64), relative=True)
