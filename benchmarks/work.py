"""The work of each row, done by the package's own classes: one training step, or one sample."""

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from nextbasis.config import BasisConfig, OrderConfig
from nextbasis.families import find, names
from nextbasis.families.common.backbone import ReadsCodes
from nextbasis.families.common.execution import precision
from nextbasis.families.common.generator import Generator, build
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, Row
from nextbasis.parity.training import recipe
from nextbasis.training.optimiser import MovingAverage, optimiser

RATE = 1e-4  # of every training step
PROGRESS = 0.5  # of the annealing: half of RAR's orders are random
ORDER = OrderConfig(scan="raster", anneal_start=0.0, anneal_end=1.0)
IDENTITY = BasisConfig(
    init="identity",
    options={},
    gain="none",
    learned=False,
    structure="dense",
    reflections=0,
    objective="l_bar",
    residual_weight=0.0,
    energy_weight=0.0,
    snr_clip=0.0,
    noise_level="host",
    detach_target=False,
    regulariser=0.0,
    projection="none",
    delta=0.0,
    lr=0.0,
)


def speed_of(family: str, variant: str = "") -> ModuleType:
    """What a family says of its speed, or of that of another model of it."""
    return find(family).part(f"speed_{variant}" if variant else "speed")


def speed_of_row(row: Row) -> ModuleType:
    """What is said of the work of a row."""
    return speed_of(row.family, row.variant)


ROWS: list[Row] = [row for family in names() for row in speed_of(family).ROWS]


def build_generator(row: Row) -> Generator:
    """The model, its weights at their initial distribution."""
    torch.manual_seed(0)
    speed = speed_of_row(row)
    made = build(speed.model(row.dropout), IDENTITY, ORDER, speed.SPEC)
    if isinstance(made.backbone, ReadsCodes):
        speed.prepare(made.backbone)
    made.prepare(partial(tokens_of, speed.SPEC, speed.TRAINING_BATCH))
    return made


def labels_of(batch: int) -> torch.Tensor:
    """Random classes."""
    return torch.randint(NUM_CLASSES, (batch,), generator=torch.Generator().manual_seed(1))


def tokens_of(spec: TokenSpec, batch: int) -> torch.Tensor:
    """Random tokens like the tokenizer's."""
    random = torch.Generator().manual_seed(2)
    if spec.codebook_size:
        return torch.randint(spec.codebook_size, (batch, spec.num_tokens), generator=random)
    return torch.randn(batch, spec.num_tokens, spec.channels, generator=random)


def training_step(row: Row, generator: Generator) -> Callable[[], Any]:
    """One step: random numbers, forward, backward, clipping, the optimiser, the moving average."""
    speed = speed_of_row(row)
    config, batch = recipe(**{"steps": 1, "lr": RATE} | speed.RECIPE), speed.TRAINING_BATCH
    tokens, labels = tokens_of(speed.SPEC, batch), labels_of(batch)
    optim, random = optimiser(generator, config), torch.Generator().manual_seed(3)
    ema = MovingAverage(generator, config.ema_decay) if config.ema_decay else None
    generator.train()

    def step() -> None:
        draws = speed.fix(generator.backbone.draw(batch, PROGRESS, random))
        optim.zero_grad(set_to_none=True)
        with precision(row.precision, labels.device):
            loss = generator.loss(tokens, labels, draws).value
        loss.backward()
        clip_grad_norm_(generator.parameters(), config.clip or math.inf)
        optim.step()
        if ema is not None:
            ema.update(generator)

    return step


def sampler_of(row: Row) -> Any:
    """The sampler's config, of a batch that is sampled at once."""
    speed = speed_of_row(row)
    batch = speed.SAMPLING_BATCH
    told = {"num_images": batch, "batch_size": batch, "latency_images": 1, "rounding": "round"}
    told |= {"precision": "float32", "compile": False}  # the row decides: see precision()
    return speed.sampler(row.guidance, family=row.family, **told)


def sampling_call(row: Row, generator: Generator) -> Callable[[], Any]:
    """All tokens of one batch of images."""
    speed, sampler = speed_of_row(row), sampler_of(row)
    labels = labels_of(sampler.batch_size)
    generator.eval()
    speed.prepare(generator.backbone)

    def call() -> torch.Tensor:
        noise = ImageNoise(0, range(sampler.batch_size), labels.device)
        with precision(row.precision, labels.device):
            return generator.sample(labels, noise, sampler)

    return call


def work(row: Row) -> tuple[Callable[[], Any], int, int]:
    """What to time, its images a call, and the backbone's number of parameters."""
    generator = build_generator(row)
    parameters = sum(parameter.numel() for parameter in generator.backbone.parameters())
    if row.training:
        return training_step(row, generator), speed_of_row(row).TRAINING_BATCH, parameters
    return sampling_call(row, generator), speed_of_row(row).SAMPLING_BATCH, parameters
