"""Official xAR (OliverRensu/xAR, models/xar.py) at the sizes of the benchmark.

Its code has no licence, so nothing of it is written here but names that its checkpoints, its
README and the fixtures give: arguments are matched by their names, as it shares them with MAR.
"""

import inspect
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from benchmarks.official.checkout import Checkout, called
from benchmarks.work import sampler_of
from nextbasis.families.common.speed import Row
from nextbasis.families.xar import speed

CHECKOUT = Checkout(name="xar", repository="OliverRensu/xAR", module="models.xar")
SAMPLE = "sample_tokens"  # by which the model's class is known, too
STRIDE = 16  # pixels of an image to a latent


def build(module: ModuleType, row: Row) -> nn.Module:
    """A fresh model.

    Raises: ValueError if no class is the model's, or it wants what is not known here.
    """
    config, spec = speed.model(row.dropout), speed.SPEC
    classes = [member for _, member in inspect.getmembers(module, inspect.isclass)]
    fitting = [each for each in classes if issubclass(each, nn.Module) and hasattr(each, SAMPLE)]
    if len(fitting) != 1:
        raise ValueError(f"{CHECKOUT.module} defines {len(fitting)} models with {SAMPLE}, not one")
    return called(
        fitting[0],
        img_size=STRIDE * spec.grid[0],
        vae_stride=STRIDE,
        patch_size=1,
        vae_embed_dim=spec.channels,
        class_num=spec.num_classes,
        encoder_embed_dim=config.width,
        encoder_depth=config.encoder_depth,
        encoder_num_heads=config.num_heads,
        decoder_embed_dim=config.width,
        decoder_depth=config.decoder_depth,
        decoder_num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        label_drop_prob=config.label_drop,
        attn_dropout=config.dropout,
        proj_dropout=config.dropout,
    )


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """The loss of tokens (b, n, c), which it is given as latents (b, c, h, w)."""
    return model(tokens.mT.unflatten(2, speed.SPEC.grid), labels)


def prepare(model: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """Latents of one image a label, by its sampler of the reverse SDE."""
    sampler = sampler_of(row)
    return called(
        model.sample_tokens,
        bsz=len(labels),
        num_steps=sampler.num_steps,
        cfg=sampler.guidance,
        labels=labels,
        label=labels,
    )
