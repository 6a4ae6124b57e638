"""Official files of Stable Diffusion's autoencoder, in three layouts.

That of latent diffusion has our names. Those of the library diffusers have others, and attention of
linear layers, whose names in the released files are not those of later versions.
"""

import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from nextbasis.official.sizes import Votes
from nextbasis.tokenizers.common.official import latent_channels
from nextbasis.tokenizers.sdvae.config import SDVAEConfig

# Tensors of latent diffusion's file, all but the last of diffusers' too. KL-16 has them as well and
# is refused for the attention inside its levels.
SIGNATURE = ("quant_conv.weight", "post_quant_conv.weight", "encoder.mid.attn_1.q.weight")
SECTIONS: tuple[str, ...] = ("state_dict",)  # of the file that latent diffusion's code reads
GROUPS, CHANNELS = 32, 4  # of the norms and of the latents of the released files
MIDDLE = "mid_block.attentions.0"
RENAMES = {  # parts of names in diffusers, whole words between dots, to ours
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    f"{MIDDLE}.group_norm": "mid.attn_1.norm",
    # As in the released files, then as in later versions of the library.
    f"{MIDDLE}.query": "mid.attn_1.q",
    f"{MIDDLE}.key": "mid.attn_1.k",
    f"{MIDDLE}.value": "mid.attn_1.v",
    f"{MIDDLE}.proj_attn": "mid.attn_1.proj_out",
    f"{MIDDLE}.to_q": "mid.attn_1.q",
    f"{MIDDLE}.to_k": "mid.attn_1.k",
    f"{MIDDLE}.to_v": "mid.attn_1.v",
    f"{MIDDLE}.to_out.0": "mid.attn_1.proj_out",
    "down_blocks": "down",
    "up_blocks": "up",
    "resnets": "block",
    "downsamplers.0": "downsample",
    "upsamplers.0": "upsample",
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
}
PROJECTION = re.compile(r"\.attn_1\.(q|k|v|proj_out)\.weight$")
UP = re.compile(r"(?<=^decoder\.up\.)\d+")


def sizes(votes: Votes) -> dict[str, Any]:
    """Values of the network's config, from the shapes of our tensors.

    Raises: ValueError if there are no levels, or if released groups do not fit, or the
    released scale is not of such latents, and none are given.
    """
    blocks = [f"encoder.down.{level}.block.0" for level in range(votes.depth("encoder.down"))]
    if not blocks:
        raise ValueError(
            f"the checkpoint is not of family {votes.family}: it has neither encoder.down, as "
            "latent diffusion's, nor encoder.down_blocks, as that of diffusers"
        )
    widths = [votes.size((f"{b}.conv2.weight", 0), (f"{b}.norm2.weight", 0)) for b in blocks]
    if any(width % GROUPS for width in widths) and "groups" not in votes.given:
        raise ValueError(
            f"its widths {widths} are no multiples of {GROUPS}, so how many groups its "
            "normalisations have is unknown; give groups=…"
        )
    if (latents := latent_channels(votes)) != CHANNELS and "scale" not in votes.given:
        raise ValueError(
            f"its latents have {latents} channels, those of Stable Diffusion have {CHANNELS}, so "
            "their scale is unknown; give scale=…"
        )
    return {
        "image_channels": votes.size(("decoder.conv_out.bias", 0), ("encoder.conv_in.weight", 1)),
        "widths": widths,
        "num_blocks": votes.depth("encoder.down.0.block"),
        "latent_channels": latents,
    }


def ours(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors, of a file of any of the layouts."""
    if not any(name.startswith("encoder.down_blocks.") for name in official):
        return official
    names = {name: _renamed(name) for name in official}
    last = max(_levels(names.values()), default=0)
    renamed = {}
    for name, tensor in official.items():
        # diffusers counts the decoder's levels as they run, the lowest resolution first.
        new = UP.sub(lambda level: str(last - int(level[0])), names[name])
        linear = PROJECTION.search(new) and tensor.ndim == 2
        renamed[new] = tensor[:, :, None, None] if linear else tensor
    return renamed


def theirs(state: dict[str, Tensor], network: SDVAEConfig) -> dict[str, Tensor]:
    """Tensors of latent diffusion's file, of the network's."""
    return state


def _renamed(name: str) -> str:
    name = f".{name}."
    for old, new in RENAMES.items():
        name = name.replace(f".{old}.", f".{new}.")
    return name[1:-1]


def _levels(names: Iterable[str]) -> Iterable[int]:
    return (int(found[0]) for name in names if (found := UP.search(name)))
