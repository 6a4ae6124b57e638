"""The official file of MaskGIT-VQGAN; its tensors' names are ours."""

from typing import Any

from torch import Tensor

from nextbasis.official.sizes import Votes
from nextbasis.tokenizers.common.official import levels
from nextbasis.tokenizers.maskgit_vqgan.config import MaskGITVQGANConfig

# Tensors that only this kind of tokenizer has.
SIGNATURE = ("quantize.embedding.weight", "encoder.conv_in.weight")
SECTIONS: tuple[str, ...] = ()  # of the file that the official code reads: the tensors themselves


def sizes(votes: Votes) -> dict[str, Any]:
    """Values of the network's config, from the shapes of our tensors."""
    codebook = "quantize.embedding.weight"
    return levels(votes) | {
        "latent_channels": votes.size((codebook, 1), ("encoder.conv_out.bias", 0)),
        "codebook_size": votes.size((codebook, 0)),
    }


def ours(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors, of an official file's."""
    return official


def theirs(state: dict[str, Tensor], network: MaskGITVQGANConfig) -> dict[str, Tensor]:
    """An official file's tensors, of the network's."""
    return state
