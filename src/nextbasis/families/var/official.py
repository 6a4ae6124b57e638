"""The official checkpoint of VAR: names, sizes read off its shapes, its own constants."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nextbasis.data.layout import Grid
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.var.config import VARConfig
from nextbasis.families.var.model import levels_of
from nextbasis.official.sizes import Votes

# Tensors that only this family has.
SIGNATURE = ("lvl_embed.weight", "pos_1LC", "pos_start", "head_nm.ada_lin.1.weight")
# Official part of a name -> ours; every other name is the same.
RENAMES = {
    "lvl_embed": "level_embed",
    "pos_1LC": "pos_embed",
    "shared_ada_lin": "shared_modulation",
    "head_nm.ada_lin": "final_modulation",
    "ada_gss": "ada_offset",
    "mat_qkv": "qkv",
    "scale_mul_1H11": "q_norm.scale",
    "ffn": "mlp",
}
SECTIONS: tuple[str, ...] = ()  # of the file that the official code reads: the tensors themselves
LEVELS = "lvl_1L"  # the constant that tells the level of each token


def sizes(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Values of the config, number of tokens, and codebook and classes, from the shapes."""
    attention, mlp = "blocks.0.attn", "blocks.0.ffn"
    width = votes.size(("pos_start", -1), ("pos_1LC", -1), ("word_embed.bias", 0))
    shared = ("shared_ada_lin.1.weight", "shared_ada_lin.1.bias", "blocks.0.ada_gss")
    values = {
        "width": width,
        "depth": votes.depth("blocks"),
        "num_heads": votes.size(
            (f"{attention}.scale_mul_1H11", 1), ("blocks.1.attn.scale_mul_1H11", 1)
        ),
        "mlp_width": votes.size(
            (f"{mlp}.fc1.bias", 0), (f"{mlp}.fc1.weight", 0), (f"{mlp}.fc2.weight", 1)
        ),
        "code_channels": votes.size(("word_embed.weight", 1)),
        "shared_modulation": sum(name in votes.shapes for name in shared) > 1,
    }
    num_tokens = votes.size(("pos_1LC", 1), (LEVELS, 1), ("attn_bias_for_masking", -1))
    codebook_size = votes.size(("head.bias", 0), ("head.weight", 0))
    classes = votes.size(("class_emb.weight", 0)) - 1  # the last row is the null class
    return values, num_tokens, {"codebook_size": codebook_size, "num_classes": classes}


def levels(official: Mapping[str, Tensor]) -> tuple[Grid, ...]:
    """The square grids, from coarse to fine.

    Raises: ValueError if the constant that tells them is missing, or its levels are no squares.
    """
    if LEVELS not in official:
        raise ValueError(f"the checkpoint lacks {LEVELS}, which tells the levels of its tokens")
    counts = official[LEVELS].flatten().long().bincount().tolist()
    sides = [math.isqrt(count) for count in counts]
    if not sides or any(
        side**2 != count or not side for side, count in zip(sides, counts, strict=True)
    ):
        raise ValueError(f"{LEVELS} has levels of {counts} tokens, which are no squares")
    return tuple((side, side) for side in sides)


def constants(model: VARConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """The constants in VAR's official state dict: levels, mask, and keys' bias, which is zero."""
    level = levels_of(spec.level_lengths)
    mask = torch.zeros(1, 1, len(level), len(level))
    mask.masked_fill_(level[:, None] < level, -torch.inf)
    tensors = {LEVELS: level[None], "attn_bias_for_masking": mask}
    zeros = {f"blocks.{i}.attn.zero_k_bias": torch.zeros(model.width) for i in range(model.depth)}
    return tensors | zeros


def host_order(model: VARConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in raster order, level by level."""
    return torch.arange(spec.num_tokens)
