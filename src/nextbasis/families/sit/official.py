"""The official checkpoints of SiT and REPA: names, sizes read off the shapes, no constants."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.sit.config import SiTConfig
from nextbasis.official.sizes import Votes, mlp_ratio

# Tensors that every file of this family has.
SIGNATURE = (
    "x_embedder.proj.weight",
    "y_embedder.embedding_table.weight",
    "final_layer.adaLN_modulation.1.weight",
)
# Official part of a name -> ours; every other name is the same.
RENAMES = {
    "x_embedder.proj": "patch_embed",
    "t_embedder": "time_embed",
    "y_embedder.embedding_table": "class_emb",
}
SECTIONS: tuple[str, ...] = ()  # of the file that the official code reads: the tensors themselves


def sizes(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Values of the config, number of tokens, and channels and classes, from the shapes."""
    patch = votes.size(("x_embedder.proj.weight", 2), ("x_embedder.proj.weight", 3))
    width = votes.size(
        ("x_embedder.proj.bias", 0), ("pos_embed", 2), ("y_embedder.embedding_table.weight", 1)
    )
    channels = votes.size(("x_embedder.proj.weight", 1))
    outputs = votes.size(("final_layer.linear.bias", 0), ("final_layer.linear.weight", 0))
    block = "blocks.0.mlp"
    hidden = votes.size(
        (f"{block}.fc1.bias", 0), (f"{block}.fc1.weight", 0), (f"{block}.fc2.weight", 1)
    )
    values: dict[str, Any] = {
        "width": width,
        "depth": votes.depth("blocks"),
        "mlp_ratio": mlp_ratio(votes, hidden, lambda ratio: int(width * ratio)),
        "patch": patch,
        "learn_sigma": outputs == 2 * channels * patch**2,
    }
    values |= _alignment(votes)
    if values["learn_sigma"] != bool(values["teacher_widths"]):
        # REPA never has the second half, and has projectors; SiT's released file is its opposite.
        values["time_one"] = "data" if values["learn_sigma"] else "noise"
    num_tokens = votes.size(("pos_embed", 1)) * patch**2
    classes = votes.size(("y_embedder.embedding_table.weight", 0)) - 1  # the last is the null class
    return values, num_tokens, {"channels": channels, "num_classes": classes}


def _alignment(votes: Votes) -> dict[str, Any]:
    """Widths of the projectors, of which SiT has none."""
    widths = [
        str(votes.size((f"projectors.{j}.4.bias", 0), (f"projectors.{j}.4.weight", 0)))
        for j in range(votes.depth("projectors"))
    ]
    if not widths:
        return {"teacher_widths": "", "align_weight": 0.0, "align_depth": 0, "align_hidden": 0}
    hidden = votes.size(
        ("projectors.0.0.bias", 0), ("projectors.0.2.bias", 0), ("projectors.0.4.weight", 1)
    )
    return {"teacher_widths": ",".join(widths), "align_hidden": hidden}


def constants(model: SiTConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """None beside the state: the table of positions is part of it, as of the official one."""
    return {}


def host_order(model: SiTConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in raster order."""
    return orders.raster(*spec.grid)


def current(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with today's names: REPA's older files count blocks after the aligned anew."""
    first = len({name.split(".")[1] for name in state if name.startswith("blocks.")})

    def renamed(name: str) -> str:
        part, _, rest = name.partition(".")
        if part != "decoder_blocks":
            return name
        index, _, rest = rest.partition(".")
        return f"blocks.{first + int(index)}.{rest}"

    return {renamed(name): tensor for name, tensor in state.items()}
