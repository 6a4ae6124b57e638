"""Official VAR (FoundationVision/VAR, models/var.py) at the sizes of the benchmark."""

from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.official.checkout import Checkout
from benchmarks.official.work import adamw
from benchmarks.work import sampler_of
from nextbasis.families.common.speed import Row
from nextbasis.families.var import speed

CHECKOUT = Checkout(
    name="var", repository="FoundationVision/VAR", module="models.var", others=("models.quant",)
)
optimiser = partial(adamw, fused=True)


def build(models: ModuleType, quantiser: ModuleType, row: Row) -> nn.Module:
    """A fresh model; of its tokenizer it has the codes alone, so that nothing is decoded."""
    config, spec = speed.model(row.dropout), speed.SPEC
    channels, size = config.code_channels, spec.size
    codes = quantiser.VectorQuantizer2(
        vocab_size=size, Cvae=channels, using_znorm=False, v_patch_nums=speed.SIDES
    )
    known: dict[str, Any] = {"Cvae": channels, "vocab_size": size}
    known["quantize"] = codes.requires_grad_(False)
    tokenizer = SimpleNamespace(**known, fhat_to_img=torch.clone)
    model: nn.Module = models.VAR(
        tokenizer,
        num_classes=spec.num_classes,
        depth=config.depth,
        embed_dim=config.width,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_width / config.width,
        drop_rate=config.dropout,
        drop_path_rate=config.drop_path,
        shared_aln=config.shared_modulation,
        cond_drop_rate=config.label_drop,
        attn_l2_norm=True,  # as all released models have it
        patch_nums=speed.SIDES,
    )
    return model


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the ids (b, n) of all levels; also looks at what is guessed, as it does."""
    codes, levels = model.vae_quant_proxy[0], tokens.split([side**2 for side in speed.SIDES], 1)
    logits = model(labels, codes.idxBl_to_var_input(list(levels)))
    logits.detach().argmax(-1)
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


def prepare(model: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """What the ids of one image a label stand for; its guidance counts from 0."""
    sampler = sampler_of(row)
    latents: Tensor = model.autoregressive_infer_cfg(
        len(labels),
        labels,
        cfg=sampler.guidance - 1,
        top_k=sampler.top_k,
        top_p=sampler.top_p,
    )
    return latents
