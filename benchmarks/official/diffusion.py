"""What the official repositories that sample as guided-diffusion does have in common."""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from nextbasis.families.common.spec import TokenSpec


def latents_of(tokens: Tensor, spec: TokenSpec) -> Tensor:
    """Tokens (b, n, c) as latents (b, c, h, w)."""
    return rearrange(tokens, "b (h w) c -> b c h w", h=spec.grid[0])


def ancestral(
    diffusion: Any, model: Any, labels: Tensor, spec: TokenSpec, guidance: float, **told: Any
) -> Tensor:
    """Latents by `p_sample_loop`: under guidance of twice the rows, of which the first are kept.

    `told` is what the guided forward pass is told besides.
    """
    noise = torch.randn(len(labels), spec.channels, *spec.grid)
    forward: Callable[..., Tensor] = model.forward
    told = {"y": labels} | ({"cfg_scale": guidance} | told if guidance > 1 else {})
    if guidance > 1:
        null = torch.full_like(labels, spec.num_classes)
        noise, told["y"] = torch.cat([noise, noise]), torch.cat([labels, null])
        forward = model.forward_with_cfg
    device = labels.device
    samples: Tensor = diffusion.p_sample_loop(
        forward, noise.shape, noise, clip_denoised=False, model_kwargs=told, device=device
    )
    return samples[: len(labels)]
