"""How many FLOPs the matrix products of a model take, counted from its config.

A multiplication and an addition are two FLOPs. Training is counted as it is computed here; sampling
is counted as published, with everything done twice under guidance, and the samplers here compute
less. What a family computes is in its part `cost`.
"""

from dataclasses import dataclass
from typing import Any

from nextbasis.families import find
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.text import MLP_RATIO, TextSpec

FREQUENCIES = 256  # of families.common.parts.TimeEmbedding
BACKWARD = 2  # forward passes that a backward pass costs


@dataclass(frozen=True)
class Flops:
    """FLOPs for one image; `head` maps what the transformer makes to tokens, where it is large."""

    transformer: float
    head: float

    @property
    def total(self) -> float:
        """FLOPs of transformer and head."""
        return self.transformer + self.head

    def times(self, factor: float) -> "Flops":
        """The work done `factor` times."""
        return Flops(self.transformer * factor, self.head * factor)


def training(model: Any, spec: TokenSpec, recompute: bool) -> Flops:
    """Forward and backward pass of one image, on average; `recompute` adds a forward pass."""
    return forward(model, spec).times(1 + BACKWARD + recompute)


def forward(model: Any, spec: TokenSpec) -> Flops:
    """The loss of one image, on average over what a step draws."""
    return find(model.family).part("cost").forward(model, spec)


def sampling(model: Any, spec: TokenSpec, sampler: Any) -> Flops:
    """One image as published, guidance included."""
    halves = 2 if sampler.guidance > 1 else 1
    return find(model.family).part("cost").sampling(model, spec, sampler).times(halves)


def of_text(width: int, depth: int, text: TextSpec | None) -> float:
    """One caption through its embedding; in sampling it is left out, once against many steps."""
    if text is None:
        return 0.0
    s = text.num_tokens
    block = 2 * s * (4 + 2 * MLP_RATIO) * width**2 + of_products(s, s, width)
    return 2 * s * text.width * width + depth * block


def of_time(width: int) -> int:
    """One embedding of a time to vectors of this width."""
    return 2 * (FREQUENCIES * width + width**2)


def of_products(queries: int, keys: int, width: int) -> int:
    """Queries with keys, and weights with values."""
    return 4 * queries * keys * width
