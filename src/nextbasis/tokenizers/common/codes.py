"""Codebooks: the nearest code, and what can be quantised after its basis has changed."""

from abc import abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.tokenizers.common.tokenizer import Tokenizer


def nearest(vectors: Float[Tensor, "m d"], codebook: Float[Tensor, "k d"]) -> Int[Tensor, " m"]:
    """Index of the code at the smallest Euclidean distance."""
    return (codebook.square().sum(1) - 2 * vectors @ codebook.T).argmin(1)


class VectorTokenizer(Tokenizer):
    """Ids of one codebook on one grid, whose vectors stage rebase can express in a basis first."""

    channels: int  # of a vector

    @abstractmethod
    def latents(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """The encoder's vectors before quantisation, in raster order."""

    @abstractmethod
    def decode_latents(self, vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images from vectors that need not be codes."""
