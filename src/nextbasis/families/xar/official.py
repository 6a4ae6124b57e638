"""The official checkpoint of xAR: names, sizes read off its shapes, its own constants."""

from typing import Any

import torch
from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.xar.block import gated_width
from nextbasis.families.xar.config import XARConfig
from nextbasis.official.sizes import Votes, mlp_ratio

# Tensors that only this family has.
SIGNATURE = (
    "pred.weight",
    "encoder_blocks.0.ada_lin.1.weight",
    "z_proj_ln.weight",
)
# Official part of a name -> ours; every other name is the same.
RENAMES = {"encoder_pos_embed_learned": "encoder_pos", "decoder_pos_embed_learned": "decoder_pos"}
SECTIONS: tuple[str, ...] = ()  # of the file that the official code reads: the tensors themselves
CELLS_PER_SIDE = 2  # the official code knows no other cut


def sizes(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Values of the config, number of tokens, and channels and classes, from the shapes."""
    width = votes.size(("z_proj.bias", 0), ("z_proj_ln.weight", 0), ("encoder_norm.weight", 0))
    depths = {part: votes.depth(f"{part}_blocks") for part in ("encoder", "decoder")}
    rotations = [
        (f"{part}_blocks.{i}.attn.rope.freqs_{curve}", 1)
        for part, depth in depths.items()
        for i in range(depth)
        for curve in ("cos", "sin")
    ]
    block = "encoder_blocks.0.mlp"
    hidden = votes.size(
        (f"{block}.fc1_g.bias", 0), (f"{block}.fc1_x.bias", 0), (f"{block}.fc2.weight", 1)
    )
    values = {
        "width": width,
        "encoder_depth": depths["encoder"],
        "decoder_depth": depths["decoder"],
        "num_heads": width // max(1, votes.size(*rotations)),
        "mlp_ratio": mlp_ratio(votes, hidden, lambda ratio: gated_width(width, ratio)),
        "cells_per_side": CELLS_PER_SIDE,
    }
    num_tokens = votes.size(
        ("encoder_pos_embed_learned", 1), ("decoder_pos_embed_learned", 1), ("mask", -1)
    )
    channels = votes.size(("z_proj.weight", 1), ("pred.weight", 0), ("pred.bias", 0))
    classes = votes.size(("class_emb.weight", 0)) - 1  # the last row is the null class
    return values, num_tokens, {"channels": channels, "num_classes": classes}


def constants(model: XARConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """The constants that xAR's official state dict holds: attention mask and rotations.

    Computed in single precision as there, so that they agree to the last bit.
    """
    half = model.width // model.num_heads // 2
    frequency = 1.0 / (10000.0 ** (torch.arange(0, half, 2).float() / half))
    row, column = torch.meshgrid(*(torch.arange(side).float() for side in spec.grid), indexing="ij")
    angles = [
        (position.reshape(-1, 1) * frequency).repeat_interleave(2, 1) for position in (row, column)
    ]
    host_order = orders.cells(*spec.grid, model.cells_per_side)
    angle = torch.cat(angles, 1)[host_order]
    num_cells = model.cells_per_side**2
    attend = orders.block_causal(num_cells, spec.num_tokens // num_cells)
    mask = torch.zeros(attend.shape).masked_fill(~attend, float("-inf"))
    buffers = {"mask": mask[None, None]}
    depths = {"encoder": model.encoder_depth, "decoder": model.decoder_depth}
    for part, depth in depths.items():
        for i in range(depth):
            rope = f"{part}_blocks.{i}.attn.rope"
            buffers[f"{rope}.freqs"] = frequency
            buffers[f"{rope}.freqs_cos"] = angle.cos()
            buffers[f"{rope}.freqs_sin"] = angle.sin()
    return buffers


def host_order(model: XARConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in cell-major order."""
    return orders.cells(*spec.grid, model.cells_per_side)
