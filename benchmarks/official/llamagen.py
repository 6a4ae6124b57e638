"""Official LlamaGen (FoundationVision/LlamaGen, its class-conditional GPT) at the same sizes."""

from functools import partial
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from benchmarks.official.checkout import Checkout
from benchmarks.official.work import adamw
from benchmarks.work import sampler_of
from nextbasis.families.common.speed import Row
from nextbasis.families.llamagen import speed

CHECKOUT = Checkout(
    name="llamagen",
    repository="FoundationVision/LlamaGen",
    module="autoregressive.models.gpt",
    others=("autoregressive.models.generate",),
)
optimiser = partial(adamw, fused=True)


def build(models: ModuleType, sampling: ModuleType, row: Row) -> nn.Module:
    """A fresh model, with the function that samples from it."""
    config, spec = speed.model(row.dropout), speed.SPEC
    told = models.ModelArgs(
        dim=config.width,
        n_layer=config.depth,
        n_head=config.num_heads,
        token_dropout_p=config.dropout,
        resid_dropout_p=config.dropout,
        ffn_dropout_p=config.dropout,
        num_classes=spec.num_classes,
        class_dropout_prob=config.label_drop,
        vocab_size=spec.codebook_size,
        block_size=spec.num_tokens,
    )
    model: nn.Module = models.Transformer(told)
    model.generate = sampling.generate
    return model


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of ids (b, n) in raster order."""
    value: Tensor = model(cond_idx=labels, idx=tokens[:, :-1], targets=tokens)[1]
    return value


def prepare(model: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """Ids of one image a label, with its cache of keys."""
    sampler = sampler_of(row)
    ids: Tensor = model.generate(
        model,
        labels,
        speed.SPEC.num_tokens,
        cfg_scale=sampler.guidance,
        cfg_interval=sampler.guidance_interval,
        temperature=sampler.temperature,
        top_k=sampler.top_k,
        top_p=sampler.top_p,
    )
    return ids
