"""Official REPA (sihyun-yu/REPA: models/sit.py, loss.py, samplers.py) at the benchmark's sizes."""

from types import ModuleType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from benchmarks.official.checkout import Checkout
from benchmarks.official.diffusion import latents_of
from benchmarks.work import sampler_of
from nextbasis.families.common.speed import Row
from nextbasis.families.sit import speed_repa as speed

CHECKOUT = Checkout(
    name="repa", repository="sihyun-yu/REPA", module="models.sit", others=("loss", "samplers")
)


def build(models: ModuleType, losses: ModuleType, samplers: ModuleType, row: Row) -> nn.Module:
    """A fresh model, its loss and its sampler."""
    config, spec = speed.model(row.dropout), speed.SPEC
    model: nn.Module = models.SiT(
        input_size=spec.grid[0],
        patch_size=config.patch,
        in_channels=spec.channels,
        hidden_size=config.width,
        decoder_hidden_size=config.width,
        encoder_depth=config.align_depth,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        class_dropout_prob=config.label_drop,
        num_classes=spec.num_classes,
        z_dims=list(config.widths),
        projector_dim=config.align_hidden,
        fused_attn=True,
        qk_norm=False,
    )
    model.compute_loss = losses.SILoss()
    model.draw = samplers.euler_maruyama_sampler
    return model


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """The loss of tokens (b, n, c), aligned with their patches as the teacher's features."""
    config = speed.model(0.0)
    latents = latents_of(tokens, speed.SPEC)
    p = config.patch
    features = rearrange(latents, "b c (h y) (w x) -> b (h w) (y x c)", y=p, x=p)
    denoising, alignment = model.compute_loss(model, latents, {"y": labels}, zs=[features])
    value: Tensor = denoising.mean() + config.align_weight * alignment.mean()
    return value


def prepare(model: nn.Module) -> None:
    """Let a fresh network say something: its modulations and its last layer start at zero."""
    speed.prepare(model)


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """Latents of one image a label, by its sampler of the reverse SDE."""
    sampler, spec = sampler_of(row), speed.SPEC
    noise = torch.randn(len(labels), spec.channels, *spec.grid)
    latents: Tensor = model.draw(
        model,
        noise,
        labels,
        num_steps=sampler.num_steps,
        cfg_scale=sampler.guidance,
        guidance_low=sampler.guidance_low,
        guidance_high=sampler.guidance_high,
    )
    return latents
