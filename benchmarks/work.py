"""The work of each row, done by the package's own classes: one training step, or one sample."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from benchmarks.definition import Row
from nextbasis.config import BasisConfig, OrderConfig, TrainConfig
from nextbasis.families.common.execution import precision
from nextbasis.families.common.generator import Generator, build
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.mar.config import MARConfig, MARSamplerConfig
from nextbasis.families.rar.config import RARConfig, RARSamplerConfig
from nextbasis.families.xar.config import XARConfig, XARSamplerConfig
from nextbasis.parity.training import recipe
from nextbasis.training.optimiser import moving_average, optimiser

NUM_CLASSES = 1000
WIDTH = 256
TRAINING_BATCH = {"mar": 8, "xar": 2, "rar": 16}
SAMPLING_BATCH = {"mar": 4, "xar": 2, "rar": 16}
SPECS = {
    "mar": TokenSpec.of_grid((8, 8), channels=16, num_classes=NUM_CLASSES),
    "xar": TokenSpec.of_grid((16, 16), channels=16, num_classes=NUM_CLASSES),
    "rar": TokenSpec.of_grid(
        grid=(16, 16), channels=0, codebook_size=1024, num_classes=NUM_CLASSES
    ),
}
MAR_HIDDEN = 55  # of 64 tokens: a mask ratio of .85
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


def model_config(family: str, dropout: float) -> MARConfig | XARConfig | RARConfig:
    """The benchmark's sizes."""
    common: dict[str, Any] = {"family": family, "dropout": dropout, "label_drop": 0.1}
    if family == "mar":
        return MARConfig(
            encoder_width=WIDTH,
            encoder_depth=4,
            encoder_heads=4,
            decoder_width=WIDTH,
            decoder_depth=4,
            decoder_heads=4,
            mlp_ratio=4.0,
            buffer_size=16,
            head_width=256,
            head_depth=3,
            head_batch_mul=4,
            mask_ratio_min=0.7,
            mask_ratio_std=0.25,
            **common,
        )
    if family == "xar":
        return XARConfig(
            width=WIDTH,
            encoder_depth=4,
            decoder_depth=4,
            num_heads=4,
            mlp_ratio=4.0,
            cells_per_side=2,
            **common,
        )
    return RARConfig(
        width=WIDTH,
        depth=8,
        num_heads=8,
        mlp_width=1024,
        surplus_positions=1022,  # of n + 1024 official rows, n + 2 are read
        surplus_timesteps=98,  # of n + 100
        **common,
    )


def train_config(family: str) -> TrainConfig:
    """The official optimisers at a constant rate; RAR keeps no moving average."""
    common: dict[str, Any] = {"steps": 1, "lr": 1e-4, "beta1": 0.9}
    if family == "rar":
        return recipe(beta2=0.96, weight_decay=0.03, clip=1.0, **common)
    if family == "xar":
        return recipe(beta2=0.96, weight_decay=0.02, clip=1.0, ema_decay=0.9999, **common)
    return recipe(beta2=0.95, weight_decay=0.02, clip=3.0, ema_decay=0.9999, **common)


def sampler_config(
    family: str, guidance: float
) -> MARSamplerConfig | XARSamplerConfig | RARSamplerConfig:
    """The benchmark's samplers."""
    batch = SAMPLING_BATCH[family]
    common: dict[str, Any] = {
        "family": family,
        "num_images": batch,
        "batch_size": batch,
        "latency_images": 1,
        "rounding": "round",
        "guidance": guidance,
        "precision": "float32",  # the row decides: see precision()
        "compile": False,
    }
    if family == "mar":
        return MARSamplerConfig(
            guidance_schedule="linear",
            num_iter=16,
            num_steps=25,
            temperature=1.0,
            clip=0.0,
            **common,
        )
    if family == "xar":
        return XARSamplerConfig(solver="euler_maruyama", num_steps=8, **common)
    return RARSamplerConfig(guidance_power=1.2, temperature=1.0, **common)


def build_generator(row: Row) -> Generator:
    """The model, its weights at their initial distribution."""
    torch.manual_seed(0)
    return build(model_config(row.family, row.dropout), IDENTITY, ORDER, SPECS[row.family])


def labels_of(batch: int) -> torch.Tensor:
    """Random classes."""
    return torch.randint(NUM_CLASSES, (batch,), generator=torch.Generator().manual_seed(1))


def tokens_of(family: str, batch: int) -> torch.Tensor:
    """Random tokens like the tokenizer's."""
    spec, random = SPECS[family], torch.Generator().manual_seed(2)
    if spec.codebook_size:
        return torch.randint(spec.codebook_size, (batch, spec.num_tokens), generator=random)
    return torch.randn(batch, spec.num_tokens, spec.channels, generator=random)


def training_step(row: Row, generator: Generator) -> Callable[[], Any]:
    """One step: random numbers, forward, backward, clipping, AdamW and the moving average."""
    config, batch = train_config(row.family), TRAINING_BATCH[row.family]
    tokens, labels = tokens_of(row.family, batch), labels_of(batch)
    optim, random = optimiser(generator, config), torch.Generator().manual_seed(3)
    ema = moving_average(generator, config.ema_decay) if config.ema_decay else None
    generator.train()

    def step() -> None:
        draws: Any = generator.backbone.draw(batch, PROGRESS, random)
        if row.family == "mar":
            draws = replace(draws, num_hidden=MAR_HIDDEN)
        optim.zero_grad(set_to_none=True)
        with precision(row.precision, labels.device):
            loss = generator.loss(tokens, labels, draws).value
        loss.backward()
        clip_grad_norm_(generator.parameters(), config.clip)
        optim.step()
        if ema is not None:
            ema.update_parameters(generator)

    return step


def sampling_call(row: Row, generator: Generator) -> Callable[[], Any]:
    """All tokens of one batch of images."""
    sampler, batch = sampler_config(row.family, row.guidance), SAMPLING_BATCH[row.family]
    labels = labels_of(batch)
    generator.eval()
    if row.family == "mar":  # a fresh head predicts zeros
        with torch.no_grad():
            for parameter in generator.backbone.get_submodule("head").parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))

    def call() -> torch.Tensor:
        noise = ImageNoise(0, range(batch), labels.device)
        with precision(row.precision, labels.device):
            return generator.sample(labels, noise, sampler)

    return call


def work(row: Row) -> tuple[Callable[[], Any], int, int]:
    """What to time, its images a call, and the backbone's number of parameters."""
    generator = build_generator(row)
    parameters = sum(parameter.numel() for parameter in generator.backbone.parameters())
    if row.training:
        return training_step(row, generator), TRAINING_BATCH[row.family], parameters
    return sampling_call(row, generator), SAMPLING_BATCH[row.family], parameters
