"""Extension, in none of the papers: VQ latents re-expressed as y = A z before they are quantised.

Ids cannot be mixed, so a basis for RAR acts on the vectors of a frozen VQ encoder. Each position
of y has its own codebook, because positions of a decorrelated y differ greatly in energy.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.tokenizers.common.codes import VectorTokenizer, nearest
from nextbasis.tokenizers.common.tokenizer import Tokenizer


class RebasedTokenizer(Tokenizer):
    """encode: images -> ids (b n), position by position; decode: A^T codes, then the decoder."""

    weight: Float[Tensor, "n n"]  # A
    codebooks: Float[Tensor, "n k d"]

    def __init__(self, parent: VectorTokenizer) -> None:
        """Start at A = I with empty codebooks."""
        super().__init__()
        self.parent, self.layout = parent, parent.layout
        count = self.layout.num_tokens
        self.register_buffer("weight", torch.eye(count))
        shape = (count, self.layout.codebook_size, parent.channels)
        self.register_buffer("codebooks", torch.zeros(shape))

    def coefficients(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """y = A z for the encoder's vectors z."""
        return torch.einsum("kn,bnd->bkd", self.weight, self.parent.latents(images))

    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """The nearest code of each coefficient in its position's codebook."""
        y = self.coefficients(images)
        ids = [nearest(y[:, k], codebook) for k, codebook in enumerate(self.codebooks)]
        return torch.stack(ids, 1)

    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]; the inverse is exact because A is orthogonal."""
        y = self.codebooks[torch.arange(ids.shape[1], device=ids.device), ids]
        return self.parent.decode_latents(torch.einsum("kn,bkd->bnd", self.weight, y))
