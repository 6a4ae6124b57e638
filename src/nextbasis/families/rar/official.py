"""The official checkpoint of RAR: names, sizes read off its shapes, its own constants."""

from typing import Any

from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.rar.config import RARConfig
from nextbasis.families.rar.model import PREFIX
from nextbasis.official.sizes import Votes

# Tensors that only this family has.
SIGNATURE = (
    "lm_head.weight",
    "target_aware_pos_embed",
    "timesteps_embeddings",
)
# Official part of a name -> ours; every other name is the same.
RENAMES = {"adaln_before_head.adaLN_modulation": "final_modulation", "lm_head": "head"}
SECTIONS: tuple[str, ...] = ()  # of the file that the official code reads: the tensors themselves
# The official tables have 1024 and 100 rows more than there are tokens; the prefix reads some.
SURPLUS = {"surplus_positions": 1024 - PREFIX, "surplus_timesteps": 100 - PREFIX}


def sizes(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Values of the config, number of tokens, and codebook and classes, from the shapes."""
    width = votes.size(("cls_token", -1), ("embeddings.weight", 1), ("lm_head.weight", 1))
    block = "blocks.0"
    head_dim = votes.size(
        (f"{block}.attn.q_norm.weight", 0),
        (f"{block}.attn.q_norm.bias", 0),
        (f"{block}.attn.k_norm.weight", 0),
    )
    values = {
        "width": width,
        "depth": votes.depth("blocks"),
        "num_heads": width // max(1, head_dim),
        "mlp_width": votes.size(
            (f"{block}.mlp.fc1.bias", 0),
            (f"{block}.mlp.fc1.weight", 0),
            (f"{block}.mlp.fc2.weight", 1),
        ),
    }
    surplus = SURPLUS | {name: votes.given[name] for name in SURPLUS if name in votes.given}
    rows = votes.size(("pos_embed", 1), ("target_aware_pos_embed", 1))
    num_tokens = rows - PREFIX - surplus["surplus_positions"]
    codebook_size = votes.size(("lm_head.bias", 0), ("lm_head.weight", 0))
    classes = votes.size(("embeddings.weight", 0)) - codebook_size - 2  # mask and null rows
    spec = {"codebook_size": codebook_size, "num_classes": classes}
    return values | surplus, num_tokens, spec


def constants(model: RARConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """RAR's official state dict holds no constants beside its parameters."""
    return {}


def host_order(model: RARConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in raster order."""
    return orders.raster(*spec.grid)
