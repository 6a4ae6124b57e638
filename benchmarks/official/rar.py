"""Official RAR (bytedance/1d-tokenizer, modeling/rar.py) at the sizes of the benchmark."""

from types import ModuleType
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.official.checkout import Checkout
from benchmarks.work import PROGRESS, sampler_of
from nextbasis.families.common.speed import Row
from nextbasis.families.rar import speed

CHECKOUT = Checkout(name="rar", repository="bytedance/1d-tokenizer", module="modeling.rar")


def build(module: ModuleType, row: Row) -> nn.Module:
    """A fresh model, of whose orders as many are random as in the benchmark."""
    config, spec = speed.model(row.dropout), speed.SPEC
    generator = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_width,
        "image_seq_len": spec.num_tokens,
        "condition_num_classes": spec.num_classes,
        "dropout": config.dropout,
        "attn_drop": config.dropout,
    }
    codebook = {"codebook_size": spec.codebook_size}
    told = OmegaConf.create({"model": {"generator": generator, "vq_model": codebook}})
    model = module.RAR(told)
    model.set_random_ratio(1 - PROGRESS)
    return model


def loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of ids (b, n) in drawn orders; also counts what is guessed right, as we do."""
    drop = speed.model(0.0).label_drop
    condition = model.preprocess_condition(labels, cond_drop_prob=drop)
    logits, permuted = model(tokens, condition, return_labels=True)
    logits = logits[:, :-1]  # the last one has nothing to predict
    (logits.argmax(-1) == permuted).float().mean()
    return F.cross_entropy(logits.flatten(0, 1), permuted.flatten())


def prepare(model: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""


def sample(model: Any, labels: Tensor, row: Row) -> Tensor:
    """Ids of one image a label, with its cache of keys; guidance 0 is none there."""
    sampler = sampler_of(row)
    return model.generate(
        condition=labels,
        guidance_scale=sampler.guidance if sampler.guidance > 1 else 0,
        randomize_temperature=sampler.temperature,
        guidance_scale_pow=sampler.guidance_power,
        kv_cache=True,
    )
