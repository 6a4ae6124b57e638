"""The transformer block of xAR, whose modulation is shared by the tokens of a cell.

b images, k cells of m tokens, n = k m tokens in cell-major order, w the width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.layers.attention import Attention, LayerCache, Rotation
from nextbasis.layers.parts import GEGLU, NORM_EPS, Modulation, modulate


class CellBlock(nn.Module):
    """Attention and a gated MLP behind norms without weights, scaled, shifted and gated."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        """The gated MLP has two thirds of the usual four-fold width."""
        super().__init__()
        self.attn = Attention(width, num_heads, dropout)
        self.mlp = GEGLU(width, int(width * 4 * 2 / 3.0), dropout)
        self.ada_lin = Modulation(width, 6)

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        modulation: Float[Tensor, "b k six_w"],
        causal: int,
        rotation: Rotation,
        cache: LayerCache | None,
    ) -> Float[Tensor, "b n w"]:
        """Tokens of k cells in a row; `modulation` is what ada_lin makes of each cell's condition.

        It is an argument because a sampler knows it before the tokens. `causal` as in Attention.
        """
        # Official order: VAR's, not DiT's.
        gate1, gate2, scale1, scale2, shift1, shift2 = modulation[:, :, None].chunk(6, -1)
        x = x.unflatten(1, (modulation.shape[1], -1))  # b k m w
        h = modulate(rms_norm(x), scale1, shift1).flatten(1, 2)
        h = self.attn(h, causal=causal, rotation=rotation, cache=cache)
        x = torch.addcmul(x, gate1, h.view_as(x))
        h = self.mlp(modulate(rms_norm(x), scale2, shift2))
        return torch.addcmul(x, gate2, h).flatten(1, 2)


def rms_norm(x: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
    """Divide by the root mean square, without weights."""
    return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS)
