"""The official files of LlamaGen's tokenizers; their tensors' names are ours."""

from typing import Any

from torch import Tensor

from nextbasis.official.sizes import Votes
from nextbasis.tokenizers.llamagen_vq.config import LlamaGenVQConfig

# Tensors that only this kind of tokenizer has.
SIGNATURE = (
    "quantize.embedding.weight",
    "quantize.codebook_used",
    "encoder.conv_blocks.0.res.0.conv1.weight",
    "decoder.conv_blocks.0.res.0.conv1.weight",
)
SECTIONS: tuple[str, ...] = ("model",)  # of the file that the official code reads


def sizes(votes: Votes) -> dict[str, Any]:
    """Values of the network's config, from the shapes of our tensors."""
    levels, codebook = "encoder.conv_blocks", "quantize.embedding.weight"
    width = votes.size(("encoder.conv_in.weight", 0), (f"{levels}.0.res.0.norm1.weight", 0))
    blocks = [f"{levels}.{level}.res.0" for level in range(votes.depth(levels))]
    widths = [votes.size((f"{b}.conv2.weight", 0), (f"{b}.norm2.weight", 0)) for b in blocks]
    return {
        "image_channels": votes.size(("decoder.conv_out.bias", 0), ("encoder.conv_in.weight", 1)),
        "width": width,
        "multipliers": [after // max(1, width) for after in widths],
        "num_blocks": votes.depth(f"{levels}.0.res"),
        "latent_channels": votes.size((codebook, 1), ("quant_conv.bias", 0)),
        "hidden_channels": votes.size(("encoder.conv_out.bias", 0), ("post_quant_conv.bias", 0)),
        "codebook_size": votes.size((codebook, 0)),
    }


def ours(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors, of an official file's."""
    return official


def theirs(state: dict[str, Tensor], network: LlamaGenVQConfig) -> dict[str, Tensor]:
    """An official file's tensors, of the network's."""
    return state
