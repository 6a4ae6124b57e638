"""The official checkpoint of MAR: names, sizes read off its shapes, its own constants."""

from typing import Any

from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.mar.config import MARConfig
from nextbasis.official.sizes import Votes, mlp_ratio

# Tensors that only this family has.
SIGNATURE = (
    "diffloss.net.input_proj.weight",
    "diffusion_pos_embed_learned",
    "fake_latent",
)
# Official part of a name -> ours; every other name is the same.
RENAMES = {
    "fake_latent": "null_class",
    "encoder_pos_embed_learned": "encoder_pos",
    "decoder_pos_embed_learned": "decoder_pos",
    "diffusion_pos_embed_learned": "head_pos",
    "diffloss.net": "head",
}
# Sections of the file that the official code reads: raw and averaged weights. There is one set of
# them here, so both sections get it.
SECTIONS: tuple[str, ...] = ("model", "model_ema")


def sizes(votes: Votes) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Values of the config, number of tokens, and channels and classes, from the shapes."""
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
        "mlp_ratio": mlp_ratio(votes, hidden, lambda ratio: int(ratio * encoder_width)),
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
    return values, num_tokens, {"channels": channels, "num_classes": classes}


def constants(model: MARConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """MAR's official state dict holds no constants beside its parameters."""
    return {}


def host_order(model: MARConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in raster order."""
    return orders.raster(*spec.grid)
