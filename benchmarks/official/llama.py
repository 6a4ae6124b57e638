"""What the official repositories of LlamaGen's kind have in common: LlamaGen and PAR.

PAR's code has no licence, so nothing of it is written here but names of its interface, most of
which are LlamaGen's. `speed` is the family's module of the benchmark's sizes, and `told` what model
and sampler are told besides.
"""

from functools import partial
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from benchmarks.official.checkout import Checkout
from benchmarks.official.work import adamw
from benchmarks.work import sampler_of
from nextbasis.families.common.speed import Row

CHECKOUT = partial(
    Checkout, module="autoregressive.models.gpt", others=("autoregressive.models.generate",)
)
optimiser = partial(adamw, fused=True)


def build(
    models: ModuleType, sampling: ModuleType, row: Row, speed: ModuleType, **told: int
) -> nn.Module:
    """A fresh model, with the function that samples from it."""
    config, spec = speed.model(row.dropout), speed.SPEC
    arguments = models.ModelArgs(
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
        **told,
    )
    model: nn.Module = models.Transformer(arguments)
    model.generate = sampling.generate
    return model


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of ids (b, n), which count as already being in the model's order."""
    value: Tensor = model(cond_idx=labels, idx=tokens[:, :-1], targets=tokens)[1]
    return value


def prepare(model: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""


def sample(model: Any, labels: Tensor, row: Row, speed: ModuleType, **told: int) -> Tensor:
    """Ids of one image a label, in the model's order, with its cache of keys."""
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
        **told,
    )
    return ids
