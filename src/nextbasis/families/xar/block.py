"""The transformer block of xAR, whose modulation is shared by the tokens of a cell.

b images, k cells of m tokens, n = k m tokens in cell-major order, w the width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.families.common.attention import Attention, LayerCache, Rotation
from nextbasis.families.common.parts import GEGLU, NORM_EPS, Modulation, modulate


class CellBlock(nn.Module):
    """Attention and a gated MLP behind norms without weights, scaled, shifted and gated."""

    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float) -> None:
        """`hidden` is the width inside the gated MLP."""
        super().__init__()
        self.attn = Attention(width, num_heads, dropout)
        self.mlp = GEGLU(width, hidden, dropout)
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


def gated_width(width: int, mlp_ratio: float) -> int:
    """Width inside a gated MLP of three maps, as large as a plain one of two with `mlp_ratio`."""
    return int(width * mlp_ratio * 2 / 3.0)


def rms_norm(x: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
    """Divide by the root mean square, without weights."""
    return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS)
