"""Official DiT (facebookresearch/DiT, models.py and diffusion/) at the sizes of the benchmark.

Its licence is not for commercial use, so nothing of it is written here but names of its interface.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.official.checkout import Checkout
from benchmarks.official.diffusion import ancestral, latents_of
from benchmarks.work import sampler_of
from nextbasis.families.common.schedule import NUM_STEPS
from nextbasis.families.common.speed import Row
from nextbasis.families.dit import speed

CHECKOUT = Checkout(
    name="dit", repository="facebookresearch/DiT", module="models", others=("diffusion",)
)


def build(models: ModuleType, diffusion: ModuleType, row: Row) -> nn.Module:
    """A fresh model, with the processes that train it and sample from it."""
    config, spec = speed.model(row.dropout), speed.SPEC
    model: nn.Module = models.DiT(
        input_size=spec.grid[0],
        patch_size=config.patch,
        in_channels=spec.channels,
        hidden_size=config.width,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        class_dropout_prob=config.label_drop,
        num_classes=spec.num_classes,
    )
    model.training_process = diffusion.create_diffusion(timestep_respacing="")
    steps = str(sampler_of(row).num_steps)
    model.sampling_process = diffusion.create_diffusion(timestep_respacing=steps)
    return model


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """The hybrid loss of tokens (b, n, c) at random steps."""
    latents, steps = latents_of(tokens, speed.SPEC), torch.randint(NUM_STEPS, labels.shape)
    terms = model.training_process.training_losses(model, latents, steps, {"y": labels})
    value: Tensor = terms["loss"].mean()
    return value


def prepare(model: nn.Module) -> None:
    """Let a fresh network say something: its modulations and its last layer start at zero."""
    speed.prepare(model)


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """Latents of one image a label."""
    return ancestral(model.sampling_process, model, labels, speed.SPEC, row.guidance)
