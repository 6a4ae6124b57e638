"""What the official codes call our tensors, and the constants that they keep beside them."""

import torch
from torch import Tensor

from nextbasis import orders
from nextbasis.config import OrderConfig, XARConfig
from nextbasis.generator import TokenSpec, build_backbone

# Official part of a name -> ours; every other name is the same.
RENAMES = {
    "mar": {
        "fake_latent": "null_class",
        "encoder_pos_embed_learned": "encoder_pos",
        "decoder_pos_embed_learned": "decoder_pos",
        "diffusion_pos_embed_learned": "head_pos",
        "diffloss.net": "head",
    },
    "xar": {
        "encoder_pos_embed_learned": "encoder_pos",
        "decoder_pos_embed_learned": "decoder_pos",
    },
    "rar": {
        "adaln_before_head.adaLN_modulation": "final_modulation",
        "lm_head": "head",
    },
}
RASTER = OrderConfig(scan="raster", anneal_start=0.0, anneal_end=0.0)


def our_name(family: str, official: str) -> str:
    """Our name of an official tensor."""
    return _rename(official, RENAMES[family])


def official_name(family: str, ours: str) -> str:
    """The official name of one of our tensors."""
    return _rename(ours, {new: old for old, new in RENAMES[family].items()})


def _rename(name: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def official_shapes(model: object, spec: TokenSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the official state dict of this model.

    Raises: ValueError if the model and the tokens do not fit each other.
    """
    family = str(vars(model)["family"])
    with torch.device("meta"):
        state = build_backbone(model, RASTER, spec).state_dict()
    shapes = {official_name(family, name): tuple(t.shape) for name, t in state.items()}
    if isinstance(model, XARConfig):
        shapes |= {name: tuple(t.shape) for name, t in xar_buffers(model, spec).items()}
    return shapes


def xar_buffers(model: XARConfig, spec: TokenSpec) -> dict[str, Tensor]:
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
