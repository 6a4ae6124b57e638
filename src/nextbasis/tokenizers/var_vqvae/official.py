"""The official file of VAR's multi-scale VQ-VAE; its tensors' names are ours."""

from typing import Any

from torch import Tensor

from nextbasis.official.sizes import Votes
from nextbasis.tokenizers.common.official import levels
from nextbasis.tokenizers.var_vqvae.config import VARVQVAEConfig

HITS = "quantize.ema_vocab_hit_SV"
# Tensors that only this kind of tokenizer has.
SIGNATURE = (HITS, "quantize.embedding.weight", "encoder.conv_in.weight")
SECTIONS: tuple[str, ...] = ()  # of the file that the official code reads: the tensors themselves
RELEASED = 10  # levels of either released setting, for 256 and for 512 pixels


def sizes(votes: Votes) -> dict[str, Any]:
    """Values of the network's config, from the shapes of our tensors.

    Raises: ValueError naming `levels`, of which the file tells only how many there were, if these
    are as many as neither the given ones nor the released ones.
    """
    codebook, phis = "quantize.embedding.weight", "quantize.quant_resi"
    count, given = votes.size((HITS, 0)), votes.given.get("levels")
    if count != (RELEASED if given is None else len(given)):
        raise ValueError(
            f"the file counts hits of {count} levels, whose sides it does not tell; give "
            f"levels=[…] of {count} sides, coarse to fine; got {given or 'none'}"
        )
    shared = votes.depth(f"{phis}.qresi_ls") or int(f"{phis}.qresi.weight" in votes.shapes)
    return levels(votes) | {
        "latent_channels": votes.size((codebook, 1), ("encoder.conv_out.bias", 0)),
        "codebook_size": votes.size((codebook, 0), (HITS, 1)),
        "num_phis": shared,
    }


def ours(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors, of an official file's."""
    return official


def theirs(state: dict[str, Tensor], network: VARVQVAEConfig) -> dict[str, Tensor]:
    """An official file's tensors, of the network's."""
    return state
