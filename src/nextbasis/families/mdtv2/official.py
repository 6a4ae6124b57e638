"""The official checkpoint of MDTv2: names, sizes read off its shapes, its own constants."""

from typing import Any

from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.mdtv2.config import MDTv2Config
from nextbasis.families.mdtv2.model import displacements
from nextbasis.official.sizes import Votes, mlp_ratio

# Tensors that only this family has.
SIGNATURE = (
    "decoder_pos_embed",
    "en_inblocks.0.attn.rel_pos_bias.relative_position_bias_table",
    "en_outblocks.0.skip_linear.weight",
    "sideblocks.0.attn.qkv.weight",
)
# Official part of a name -> ours; every other name is the same.
RENAMES = {
    "x_embedder.proj": "patch_embed",
    "t_embedder": "time_embed",
    "y_embedder.embedding_table": "class_emb",
    "decoder_pos_embed": "decoder_pos",
    "en_inblocks": "in_blocks",
    "en_outblocks": "out_blocks",
    "de_blocks": "decoder_blocks",
    "sideblocks": "side_blocks",
    "skip_linear": "skip",
    "attn.rel_pos_bias.relative_position_bias_table": "attn.relative_bias",
}
SECTIONS: tuple[str, ...] = ()  # of the file that the official code reads: the tensors themselves


def sizes(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Values of the config, number of tokens, and channels and classes, from the shapes."""
    width = votes.size(
        ("pos_embed", -1),
        ("decoder_pos_embed", -1),
        ("mask_token", -1),
        ("x_embedder.proj.bias", 0),
    )
    half, decoder = votes.depth("en_inblocks"), votes.depth("de_blocks")
    block = "en_inblocks.0.mlp"
    hidden = votes.size(
        (f"{block}.fc1.bias", 0), (f"{block}.fc1.weight", 0), (f"{block}.fc2.weight", 1)
    )
    patch = votes.size(("x_embedder.proj.weight", 2), ("x_embedder.proj.weight", 3))
    tables = [
        (f"{name}.{i}.attn.rel_pos_bias.relative_position_bias_table", 1)
        for name, depth in (("en_inblocks", half), ("en_outblocks", half), ("de_blocks", decoder))
        for i in range(depth)
    ]
    values = {
        "width": width,
        "depth": 2 * half + decoder,
        "decoder_depth": decoder,
        "num_heads": votes.size(*tables),
        "mlp_ratio": mlp_ratio(votes, hidden, lambda ratio: int(width * ratio)),
        "patch": patch,
    }
    num_tokens = votes.size(("pos_embed", 1), ("decoder_pos_embed", 1)) * patch**2
    channels = votes.size(("x_embedder.proj.weight", 1))
    classes = votes.size(("y_embedder.embedding_table.weight", 0)) - 1  # the last row is null
    return values, num_tokens, {"channels": channels, "num_classes": classes}


def constants(model: MDTv2Config, spec: TokenSpec) -> dict[str, Tensor]:
    """The constant that MDTv2's official state dict holds: a copy of the displacements a block."""
    index = displacements(spec.grid[0] // model.patch, spec.grid[1] // model.patch)[0]
    half = (model.depth - model.decoder_depth) // 2
    depths = {"en_inblocks": half, "en_outblocks": half}
    depths |= {"de_blocks": model.decoder_depth, "sideblocks": 1}
    return {
        f"{name}.{i}.attn.rel_pos_bias.relative_position_index": index
        for name, depth in depths.items()
        for i in range(depth)
    }


def host_order(model: MDTv2Config, spec: TokenSpec) -> Tensor:
    """Tokens are in raster order."""
    return orders.raster(*spec.grid)
