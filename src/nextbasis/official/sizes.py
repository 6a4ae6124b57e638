"""Read a model's sizes off the shapes of its official tensors."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from nextbasis.backbones.rar import PREFIX
from nextbasis.config import MARConfig, RARConfig, XARConfig
from nextbasis.generator import TokenSpec

Shapes = Mapping[str, tuple[int, ...]]
CONFIGS: dict[str, Any] = {"mar": MARConfig, "xar": XARConfig, "rar": RARConfig}
XAR_CELLS_PER_SIDE = 2  # the official code knows no other cut
# The official tables have 1024 and 100 rows more than there are tokens; the prefix reads some.
RAR_SURPLUS = {"surplus_positions": 1024 - PREFIX, "surplus_timesteps": 100 - PREFIX}


class Votes:
    """Sizes that several tensors agree on, so that one bad tensor is found and not believed."""

    def __init__(self, family: str, shapes: Shapes, given: Mapping[str, Any]) -> None:
        """Vote with these shapes; `given` holds what they cannot tell."""
        self.family, self.shapes, self.given = family, shapes, given

    def size(self, *sources: tuple[str, int]) -> int:
        """The commonest size among (tensor, axis) pairs; negative axes count from the end.

        Raises: ValueError naming the tensors if none of them is there.
        """
        found = [
            self.shapes[name][axis]
            for name, axis in sources
            if name in self.shapes and -len(self.shapes[name]) <= axis < len(self.shapes[name])
        ]
        if not found:
            names = ", ".join(name for name, _ in sources)
            raise ValueError(f"the checkpoint is not of family {self.family}: no tensor {names}")
        return Counter(found).most_common(1)[0][0]

    def depth(self, blocks: str) -> int:
        """How many blocks there are; an index with a single stray tensor is none."""
        pattern = re.compile(rf"{re.escape(blocks)}\.(\d+)\.")
        matches = (pattern.match(name) for name in self.shapes)
        counts = Counter(int(match[1]) for match in matches if match)
        return max((index + 1 for index, count in counts.items() if count > 1), default=0)


def infer(
    family: str, shapes: Shapes, given: Mapping[str, Any], grid: tuple[int, int] | None
) -> tuple[Any, TokenSpec]:
    """Model config and token spec of official tensors; `given` holds what shapes cannot tell.

    Raises: ValueError if `given` lacks a value or contradicts the shapes, if the tokens form no
    square and `grid` is None, or if sizes do not fit each other.
    """
    given = RAR_SURPLUS | dict(given) if family == "rar" else given
    values, num_tokens, spec = SIZES[family](Votes(family, shapes, given))
    if spec["num_classes"] < 1:
        raise ValueError(
            f"the class table leaves {spec['num_classes']} classes; the checkpoint is damaged"
        )
    if "mlp_ratio" in values and "mlp_ratio" in given:
        width = values["encoder_width"]
        if int(given["mlp_ratio"] * width) == int(values["mlp_ratio"] * width):
            values["mlp_ratio"] = given["mlp_ratio"]  # several ratios give the same layer
    wrong = [
        f"model.{name} is {given[name]} in the config and {value} in the checkpoint"
        for name, value in values.items()
        if name in given and given[name] != value
    ]
    if wrong:
        raise ValueError(f"the checkpoint is of another size: {'; '.join(wrong)}")
    values = {"family": family} | dict(given) | values
    names = [field.name for field in fields(CONFIGS[family])]
    needed = [field.name for field in fields(CONFIGS[family]) if field.default is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ValueError(
            f"a {family} checkpoint does not tell {', '.join(f'model.{m}' for m in missing)}; "
            "give the values (config/model/paper has those of the released models)"
        )
    if unknown := [name for name in values if name not in names]:
        raise ValueError(f"{family} has no model.{', model.'.join(unknown)}")
    return CONFIGS[family](**values), TokenSpec.of(spec | {"grid": _grid(num_tokens, grid)})


def _grid(num_tokens: int, grid: tuple[int, int] | None) -> tuple[int, int]:
    side = math.isqrt(max(0, num_tokens))
    grid = grid or (side, side)
    if grid[0] * grid[1] != num_tokens or num_tokens < 1:
        raise ValueError(
            f"the checkpoint has {num_tokens} tokens per image, which is no {grid[0]} x {grid[1]} "
            "grid; give its grid"
        )
    return grid


def _ratio(hidden: int, width: int) -> float:
    """A ratio with int(ratio * width) == hidden."""
    ratio = hidden / width
    return ratio if int(ratio * width) == hidden else math.nextafter(ratio, math.inf)


def _mar(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    head = "diffloss.net"
    encoder_width = votes.size(
        ("z_proj.bias", 0), ("z_proj_ln.weight", 0), ("encoder_norm.weight", 0), ("fake_latent", -1)
    )
    num_tokens = votes.size(("diffusion_pos_embed_learned", 1))
    length = votes.size(("encoder_pos_embed_learned", 1), ("decoder_pos_embed_learned", 1))
    block = "encoder_blocks.0.mlp"
    hidden = votes.size(
        (f"{block}.fc1.bias", 0), (f"{block}.fc1.weight", 0), (f"{block}.fc2.weight", 1)
    )
    values = {
        "encoder_width": encoder_width,
        "encoder_depth": votes.depth("encoder_blocks"),
        "decoder_width": votes.size(
            ("decoder_embed.bias", 0), ("decoder_norm.weight", 0), ("mask_token", -1)
        ),
        "decoder_depth": votes.depth("decoder_blocks"),
        "mlp_ratio": _ratio(hidden, encoder_width),
        "buffer_size": length - num_tokens,
        "head_width": votes.size(
            (f"{head}.input_proj.bias", 0),
            (f"{head}.cond_embed.bias", 0),
            (f"{head}.time_embed.mlp.0.bias", 0),
        ),
        "head_depth": votes.depth(f"{head}.res_blocks"),
    }
    channels = votes.size(
        ("z_proj.weight", 1),
        (f"{head}.input_proj.weight", 1),
    )
    classes = votes.size(("class_emb.weight", 0))
    return values, num_tokens, {"channels": channels, "codebook_size": 0, "num_classes": classes}


def _xar(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    width = votes.size(("z_proj.bias", 0), ("z_proj_ln.weight", 0), ("encoder_norm.weight", 0))
    depths = {part: votes.depth(f"{part}_blocks") for part in ("encoder", "decoder")}
    rotations = [
        (f"{part}_blocks.{i}.attn.rope.freqs_{curve}", 1)
        for part, depth in depths.items()
        for i in range(depth)
        for curve in ("cos", "sin")
    ]
    values = {
        "width": width,
        "encoder_depth": depths["encoder"],
        "decoder_depth": depths["decoder"],
        "num_heads": width // max(1, votes.size(*rotations)),
        "cells_per_side": XAR_CELLS_PER_SIDE,
    }
    num_tokens = votes.size(
        ("encoder_pos_embed_learned", 1), ("decoder_pos_embed_learned", 1), ("mask", -1)
    )
    channels = votes.size(("z_proj.weight", 1), ("pred.weight", 0), ("pred.bias", 0))
    classes = votes.size(("class_emb.weight", 0)) - 1  # the last row is the null class
    return values, num_tokens, {"channels": channels, "codebook_size": 0, "num_classes": classes}


def _rar(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
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
    rows = votes.size(("pos_embed", 1), ("target_aware_pos_embed", 1))
    num_tokens = rows - PREFIX - votes.given["surplus_positions"]
    codebook_size = votes.size(("lm_head.bias", 0), ("lm_head.weight", 0))
    classes = votes.size(("embeddings.weight", 0)) - codebook_size - 2  # mask and null rows
    spec = {"channels": 0, "codebook_size": codebook_size, "num_classes": classes}
    return values, num_tokens, spec


SIZES = {"mar": _mar, "xar": _xar, "rar": _rar}
