"""Compare training steps of MDTv2 with a fixture: by Adan, with two losses of every image."""

from types import EllipsisType

import torch
from einops import rearrange
from torch import Tensor

from nextbasis.families.common.loss import Loss
from nextbasis.families.mdtv2.model import Draws, MDTv2, kept_patches
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.training import check_training

WEIGHTS = 3e-4  # tolerance: Adan, as Adam, magnifies rounding of gradients that are nearly zero


def draws_of(fixture: Fixture, model: MDTv2, part: str, which: int | EllipsisType) -> Draws:
    """The fixture's random numbers under a name, of one step where it holds several."""

    def read(name: str) -> Tensor:
        return fixture[part + name][which]

    noise = torch.stack([read("noise"), read("mask_noise")])
    drop = torch.stack([read("label_u"), read("mask_label_u")]) < model.config.label_drop
    return Draws(
        label_drop=drop,
        step=read("t"),
        noise=rearrange(noise, "k b c h w -> k b (h w) c"),
        kept=kept_patches(model.config, read("ratio_u")[0], read("mask_u")),
    )


def run(fixture: Fixture, model: MDTv2) -> None:
    """Compare train.{losses,grad_norms,param.*,ema.*}; changes the model."""
    tokens = rearrange(fixture["loss.latents"], "b c h w -> b (h w) c")

    def loss_of(step: int) -> Loss:
        return model.loss(tokens, fixture["loss.labels"], draws_of(fixture, model, "train.", step))

    check_training(fixture, "mdtv2", model, loss_of, tolerance=WEIGHTS)
