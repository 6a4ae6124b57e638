"""Official MAR (LTH14/mar, models/mar.py) at the sizes of the benchmark."""

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.official.checkout import Checkout
from benchmarks.work import sampler_of
from nextbasis.families.common.speed import Row
from nextbasis.families.mar import speed

CHECKOUT = Checkout(name="mar", repository="LTH14/mar", module="models.mar")
STRIDE = 16  # pixels of an image to a latent


class FixedShare:
    """Hides the same share of the tokens in every step, as the benchmark does."""

    def rvs(self, count: int) -> np.ndarray:
        """The share, `count` times, as SciPy's distributions give theirs."""
        return np.full(count, speed.HIDDEN / speed.SPEC.num_tokens)


def build(module: ModuleType, row: Row) -> nn.Module:
    """A fresh model."""
    config, spec = speed.model(row.dropout), speed.SPEC
    model = module.MAR(
        img_size=STRIDE * spec.grid[0],
        vae_stride=STRIDE,
        patch_size=1,
        encoder_embed_dim=config.encoder_width,
        encoder_depth=config.encoder_depth,
        encoder_num_heads=config.encoder_heads,
        decoder_embed_dim=config.decoder_width,
        decoder_depth=config.decoder_depth,
        decoder_num_heads=config.decoder_heads,
        mlp_ratio=config.mlp_ratio,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        vae_embed_dim=spec.channels,
        class_num=spec.num_classes,
        label_drop_prob=config.label_drop,
        attn_dropout=config.dropout,
        proj_dropout=config.dropout,
        buffer_size=config.buffer_size,
        diffloss_d=config.head_depth,
        diffloss_w=config.head_width,
        num_sampling_steps=str(sampler_of(row).num_steps),
        diffusion_batch_mul=config.head_batch_mul,
    )
    model.mask_ratio_generator = FixedShare()
    return model


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """The loss of tokens (b, n, c), which it is given as latents (b, c, h, w)."""
    return model(tokens.mT.unflatten(2, speed.SPEC.grid), labels)


@torch.no_grad()
def prepare(model: nn.Module) -> None:
    """Let a fresh head predict something: its last layer starts at zero."""
    for parameter in model.get_submodule("diffloss").parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """Latents of one image a label."""
    sampler = sampler_of(row)
    return model.sample_tokens(
        bsz=len(labels),
        num_iter=sampler.num_iter,
        cfg=sampler.guidance,
        cfg_schedule=sampler.guidance_schedule,
        labels=labels,
        temperature=sampler.temperature,
    )
