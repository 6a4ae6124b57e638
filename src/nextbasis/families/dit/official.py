"""The official checkpoint of DiT: names, and sizes read off its shapes.

SiT's has the same names and shapes: nothing in a file tells them apart.
"""

from typing import Any

from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.dit.config import DiTConfig
from nextbasis.official.sizes import Votes, mlp_ratio

# Tensors that only such a family has.
SIGNATURE = (
    "x_embedder.proj.weight",
    "t_embedder.mlp.0.weight",
    "y_embedder.embedding_table.weight",
)
# Official part of a name -> ours; every other name is the same.
RENAMES = {
    "x_embedder.proj": "patch_embed",
    "t_embedder": "time_embed",
    "y_embedder.embedding_table": "class_emb",
}
SECTIONS: tuple[str, ...] = ()  # of the released files: the tensors themselves, averaged


def sizes(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Values of the config, number of tokens, and channels and classes, from the shapes."""
    patches = "x_embedder.proj"
    width = votes.size((f"{patches}.bias", 0), ("pos_embed", 2), ("t_embedder.mlp.2.bias", 0))
    patch = votes.size((f"{patches}.weight", 2), (f"{patches}.weight", 3))
    block = "blocks.0.mlp"
    hidden = votes.size(
        (f"{block}.fc1.bias", 0), (f"{block}.fc1.weight", 0), (f"{block}.fc2.weight", 1)
    )
    values = {
        "width": width,
        "depth": votes.depth("blocks"),
        "mlp_ratio": mlp_ratio(votes, hidden, lambda ratio: int(width * ratio)),
        "patch": patch,
    }
    classes = votes.size(("y_embedder.embedding_table.weight", 0)) - 1  # the last row is null
    channels = votes.size((f"{patches}.weight", 1))
    num_tokens = votes.size(("pos_embed", 1)) * patch**2
    return values, num_tokens, {"channels": channels, "num_classes": classes}


def constants(model: DiTConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """None beside our state, which holds the table of positions as the official one does."""
    return {}


def host_order(model: DiTConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in raster order."""
    return orders.raster(*spec.grid)
