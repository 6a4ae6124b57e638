"""A block of VAR: attention from level to level, an MLP, and what modulates both.

b images, m tokens of some levels, h heads, w the width, e = w / h numbers a head.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.families.common.attention import Attention, LayerCache
from nextbasis.families.common.dit import normalised
from nextbasis.families.common.linear import Linear, linear
from nextbasis.families.common.parts import MLP, Modulation, modulate
from nextbasis.families.var.config import VARConfig

LARGEST_SCALE = math.log(100)  # of a head's logits, as a logarithm
FIRST_SCALE = math.log(4)


class Unit(nn.Module):
    """Vectors of every head, made as long as one."""

    def forward(self, x: Float[Tensor, "b h m e"]) -> Float[Tensor, "b h m e"]:
        """In single precision."""
        return F.normalize(x.float(), dim=-1)


class ScaledUnit(Unit):
    """Queries as long as their head has learned, in place of 1 / sqrt(e) for all."""

    def __init__(self, num_heads: int, head_dim: int) -> None:
        """The scale is learned by its logarithm."""
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, num_heads, 1, 1), FIRST_SCALE))
        self.undone = math.sqrt(head_dim)  # by what attention divides

    def forward(self, x: Float[Tensor, "b h m e"]) -> Float[Tensor, "b h m e"]:
        """In single precision."""
        return super().forward(x) * (self.scale.clamp(max=LARGEST_SCALE).exp() * self.undone)


class LevelAttention(Attention):
    """Each token looks at all of its own level and of those before it, by its angle to them."""

    def __init__(self, width: int, num_heads: int, dropout: float, lengths: Sequence[int]) -> None:
        """`lengths` counts the tokens of each level; keys have no bias."""
        super().__init__(width, num_heads, dropout, bias=False, drop_weights=False)
        self.lengths = list(lengths)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = Linear(width, width)
        self.register_module("q_norm", ScaledUnit(num_heads, width // num_heads))
        self.register_module("k_norm", Unit())

    def _project(self, x: Tensor, queries: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        q, k, v = linear(x, self.qkv.weight, bias).chunk(3, -1)
        return q, k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, causal: int) -> Tensor:
        """Level by level if `causal`, so that no work is done for what a token may not see."""
        if not causal:
            return self._mix(q, k, v)
        ends = accumulate(self.lengths)
        parts = zip(q.split(self.lengths, 2), ends, strict=True)
        return torch.cat([self._mix(part, k[:, :, :end], v[:, :, :end]) for part, end in parts], 2)


class LevelBlock(nn.Module):
    """Attention and an MLP behind norms without weights, gated, scaled and shifted."""

    ada_offset: Tensor | None

    def __init__(self, config: VARConfig, lengths: Sequence[int]) -> None:
        """Sizes come from the model's config, `lengths` from its tokens."""
        super().__init__()
        width, dropout = config.width, config.dropout
        self.attn = LevelAttention(width, config.num_heads, dropout, lengths)
        self.mlp = MLP(width, config.mlp_width, dropout, approximate=True)
        shared = config.shared_modulation
        self.ada_lin = None if shared else Modulation(width, 6)
        offset = nn.Parameter(torch.zeros(1, 1, 6, width)) if shared else None
        self.register_parameter("ada_offset", offset)

    def modulation(self, told: Float[Tensor, "b k"]) -> Float[Tensor, "b 1 six_w"]:
        """Gates, scales and shifts of attention and MLP.

        `told` is the condition (b, w), or where a layer is shared what it made of it (b, 6 w).
        """
        if self.ada_offset is not None:
            return told[:, None] + self.ada_offset.flatten(2)
        assert self.ada_lin is not None
        return self.ada_lin(told)[:, None]

    def forward(
        self,
        x: Float[Tensor, "b m w"],
        told: Float[Tensor, "b k"],
        kept: Float[Tensor, "b 2"] | None = None,
    ) -> Float[Tensor, "b m w"]:
        """All levels; `kept` is what the branches of an image are multiplied with."""
        modulation = self.modulation(told)
        if kept is not None:
            gates, others = modulation.split((2 * x.shape[-1], 4 * x.shape[-1]), -1)
            gates = (gates.unflatten(-1, (2, -1)) * kept[:, None, :, None]).flatten(2)
            modulation = torch.cat((gates, others), -1)
        return self.step(x, modulation)

    def step(
        self,
        x: Float[Tensor, "b m w"],
        modulation: Float[Tensor, "b 1 six_w"],
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "b m w"]:
        """All levels, or one behind those of the cache."""
        gate1, gate2, scale1, scale2, shift1, shift2 = modulation.chunk(6, -1)
        h = modulate(normalised(x), scale1, shift1)
        x = torch.addcmul(x, gate1, self.attn(h, causal=int(cache is None), cache=cache))
        return torch.addcmul(x, gate2, self.mlp(modulate(normalised(x), scale2, shift2)))
