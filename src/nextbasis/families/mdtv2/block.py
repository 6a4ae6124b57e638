"""A transformer block of MDTv2: that of DiT with relative positions and a long shortcut.

Under autocast the stream stays in single precision, and with it the map that joins a shortcut.

b images, m patches, w the width, h heads.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.families.common.attention import Attention
from nextbasis.families.common.dit import normalised
from nextbasis.families.common.execution import precision
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.parts import MLP, Modulation, modulate

SURPLUS = 3  # rows at the end of the official table that nothing reads


class RelativeAttention(Attention):
    """Attention whose scores are added a number that heads learn for every displacement."""

    def __init__(self, width: int, num_heads: int, dropout: float, grid: tuple[int, int]) -> None:
        """`grid` has the rows and columns of the patches."""
        super().__init__(width, num_heads, dropout)
        rows, columns = grid
        displacements = (2 * rows - 1) * (2 * columns - 1)
        self.relative_bias = nn.Parameter(torch.empty(displacements + SURPLUS, num_heads))
        nn.init.trunc_normal_(self.relative_bias, std=0.02)

    def bias(self, displacement: Int[Tensor, "a m m"]) -> Float[Tensor, "a h m m"]:
        """What is added to the scores of every pair of patches, in a images or in all."""
        return F.embedding(displacement, self.relative_bias).movedim(-1, -3)

    def among(
        self, x: Float[Tensor, "b m w"], displacement: Int[Tensor, "#b m m"]
    ) -> Float[Tensor, "b m w"]:
        """Every patch looks at every patch."""
        q, k, v = (self._split(part) for part in self._project(x, None))
        bias = self.bias(displacement).to(q.dtype)
        if q.device.type == "cpu" and (self.attn_drop.active or torch.is_grad_enabled()):
            scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2) + bias
            mixed = self.attn_drop(scores.softmax(-1)) @ v
        else:
            mixed = self._fused_mix(q, k, v, attend=bias.contiguous())
        return self.proj_drop(self.proj(mixed.transpose(1, 2).flatten(2)))


class MaskedBlock(nn.Module):
    """Attention and an MLP behind norms without weights, shifted, scaled and gated."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden: int,
        dropout: float,
        grid: tuple[int, int],
        shortcut: bool,
    ) -> None:
        """`hidden` is the width inside the MLP; a `shortcut` is joined in front of all."""
        super().__init__()
        self.skip = Linear(2 * width, width) if shortcut else None
        self.attn = RelativeAttention(width, num_heads, dropout, grid)
        self.mlp = MLP(width, hidden, dropout, approximate=True)
        self.adaLN_modulation = Modulation(width, 6)

    def modulation(self, y: Float[Tensor, "u w"]) -> Float[Tensor, "u six_w"]:
        """Shift, scale and gate of the attention, then of the MLP, given y after its SiLU."""
        return self.adaLN_modulation[1](y)

    def forward(
        self,
        x: Float[Tensor, "b m w"],
        modulation: Float[Tensor, "b six_w"],
        displacement: Int[Tensor, "#b m m"],
        shortcut: Float[Tensor, "b m w"] | None = None,
    ) -> Float[Tensor, "b m w"]:
        """Every patch looks at every patch, told how far apart they are."""
        if self.skip is not None:
            assert shortcut is not None
            with precision("float32", x.device):
                x = self.skip(torch.cat((x, shortcut), -1))
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation[:, None].chunk(6, -1)
        mixed = self.attn.among(modulate(normalised(x), scale1, shift1), displacement)
        x = torch.addcmul(x, gate1, mixed)
        return torch.addcmul(x, gate2, self.mlp(modulate(normalised(x), scale2, shift2)))
