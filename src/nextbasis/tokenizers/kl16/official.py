"""The official file of KL-16; its tensors' names are ours."""

from typing import Any

from torch import Tensor

from nextbasis.official.sizes import Votes
from nextbasis.tokenizers.common.official import latent_channels, levels
from nextbasis.tokenizers.kl16.config import KL16Config

# Tensors that only this kind of tokenizer has.
SIGNATURE = ("quant_conv.weight", "post_quant_conv.weight", "encoder.mid.attn_1.q.weight")
SECTIONS: tuple[str, ...] = ("model",)  # of the file that the official code reads
CHANNELS = 16  # of the latents of the released file


def sizes(votes: Votes) -> dict[str, Any]:
    """Values of the network's config, from the shapes of our tensors.

    Raises: ValueError if it is laid out as another tokenizer, or if it is not MAR's, whose scale is
    known, and none is given.
    """
    values = levels(votes)
    values["latent_channels"] = latent_channels(votes)
    for part, blocks in (("encoder", "down"), ("decoder", "up")):
        names = [f"{part}.{blocks}.{level}.attn" for level in range(len(values["multipliers"]))]
        values[f"{part}_attention"] = [i for i, name in enumerate(names) if votes.depth(name)]
    if not values["encoder_attention"] and not values["decoder_attention"]:
        raise ValueError(
            f"none of its {len(values['multipliers'])} levels has attention, as in Stable "
            f"Diffusion's autoencoder; KL-16's encoder has it in the last. Its latents have "
            f"{values['latent_channels']} channels, those of the released KL-16 have {CHANNELS}. "
            "Import it as sdvae"
        )
    if values["decoder_attention"] and "scale" not in votes.given:
        raise ValueError(
            "the decoder has attention, as that of latent diffusion's kl-f16 and unlike MAR's "
            "KL-16, so the scale of its latents is unknown; give scale=…"
        )
    return values


def ours(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors, of an official file's."""
    return official


def theirs(state: dict[str, Tensor], network: KL16Config) -> dict[str, Tensor]:
    """An official file's tensors, of the network's."""
    return state
