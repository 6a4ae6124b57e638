"""Official MDTv2 (sail-sg/MDT) with its optimiser (sail-sg/Adan) at the benchmark's sizes."""

from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.official.checkout import Checkout
from benchmarks.official.diffusion import ancestral, latents_of
from benchmarks.work import RATE, sampler_of
from nextbasis.families.common.schedule import NUM_STEPS
from nextbasis.families.common.speed import Row
from nextbasis.families.mdtv2 import speed

CHECKOUT = Checkout(
    name="mdtv2",
    repository="sail-sg/MDT",
    module="masked_diffusion.models",
    others=("masked_diffusion", "adan"),
)


def build(models: ModuleType, diffusion: ModuleType, adan: ModuleType, row: Row) -> nn.Module:
    """A fresh model that shows as many patches as in the benchmark, its processes and optimiser."""
    config, spec = speed.model(row.dropout), speed.SPEC
    model: nn.Module = models.MDTv2(
        input_size=spec.grid[0],
        patch_size=config.patch,
        in_channels=spec.channels,
        hidden_size=config.width,
        depth=config.depth,
        decode_layer=config.decoder_depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        class_dropout_prob=config.label_drop,
        num_classes=spec.num_classes,
        mask_ratio=config.mask_ratio,
    )
    patches = spec.num_tokens // config.patch**2
    hidden = 1 - (speed.KEPT + 0.5) / patches  # it rounds the number of shown ones down
    masking = model.random_masking
    model.random_masking = lambda x, mask_ratio: masking(x, hidden)
    model.training_process = diffusion.create_diffusion(timestep_respacing="")
    steps = str(sampler_of(row).num_steps)
    model.sampling_process = diffusion.create_diffusion(timestep_respacing=steps)
    model.adan = partial(adan.Adan, lr=RATE)
    return model


def optimiser(model: Any, recipe: dict[str, Any]) -> torch.optim.Optimizer:
    """Its own Adan, which on a CPU has no fused loop; it clips by itself what is clipped before."""
    betas = (recipe["beta1"], recipe["beta2"], recipe["beta3"])
    optim: torch.optim.Optimizer = model.adan(
        model.parameters(), betas=betas, weight_decay=recipe["weight_decay"]
    )
    return optim


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """Both losses of tokens (b, n, c): of all patches, and with a part of them hidden."""
    latents, steps = latents_of(tokens, speed.SPEC), torch.randint(NUM_STEPS, labels.shape)
    losses = model.training_process.training_losses
    plain, masked = (
        losses(model, latents, steps, {"y": labels} | told)["loss"].mean()
        for told in ({}, {"enable_mask": True})
    )
    value: Tensor = plain + masked
    return value


def prepare(model: nn.Module) -> None:
    """Let a fresh network say something: its modulations and its last layer start at zero."""
    speed.prepare(model)


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """Latents of one image a label, guided as the power of the cosine says."""
    told = {"scale_pow": sampler_of(row).guidance_power}
    return ancestral(model.sampling_process, model, labels, speed.SPEC, row.guidance, **told)
