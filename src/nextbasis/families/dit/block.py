"""The block of the shared transformer with shapes that can be checked.

Those of `common.dit.DiTBlock` name an axis 6w, which no checker can evaluate.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.families.common.dit import DiTBlock, normalised
from nextbasis.families.common.parts import modulate


class Block(DiTBlock):
    """A DiTBlock and nothing else: same parts, same numbers."""

    def __init__(self, shared: DiTBlock) -> None:
        """Take its parts."""
        nn.Module.__init__(self)
        self.attn, self.mlp = shared.attn, shared.mlp
        self.adaLN_modulation = shared.adaLN_modulation

    def modulation(self, y: Float[Tensor, "u w"]) -> Float[Tensor, "u six_w"]:
        """Shift, scale and gate of the attention, then of the MLP, given y after its SiLU."""
        return self.adaLN_modulation[1](y)

    def forward(
        self, x: Float[Tensor, "b m w"], modulation: Float[Tensor, "b six_w"]
    ) -> Float[Tensor, "b m w"]:
        """Every patch looks at every patch."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation[:, None].chunk(6, -1)
        x = torch.addcmul(x, gate, self.attn(modulate(normalised(x), scale, shift)))
        return torch.addcmul(x, mlp_gate, self.mlp(modulate(normalised(x), mlp_scale, mlp_shift)))
