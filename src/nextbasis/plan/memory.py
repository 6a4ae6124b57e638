"""How much memory a training takes on each GPU, estimated from its config.

A block keeps for its backward pass what its operations need: counted below as numbers per row
(token), w the width and h the width inside its MLP. Attention keeps no scores.
"""

from dataclasses import dataclass
from typing import Any

from nextbasis.families import find
from nextbasis.families.common.spec import TokenSpec

# Bytes per parameter: two moments of Adam; three of Adan, and the gradient before; all float32.
OPTIMIZER = {"adamw": 8, "adan": 16}
BYTES = {"float32": 4, "bfloat16": 2}  # of an activation


@dataclass(frozen=True)
class Layer:
    """Blocks of one kind, for one image."""

    count: int
    rows: int
    width: int
    kept: int  # numbers per row
    masks: int  # bytes per row, if there is dropout

    def block(self, size: int, dropout: bool) -> int:
        """Bytes that one block keeps; `size` is that of a number."""
        return self.rows * (self.kept * size + self.masks * dropout)


def state(optimizer: str) -> dict[str, int]:
    """Bytes per parameter: weight, gradient, what the optimiser keeps, moving average."""
    return {"weights": 4, "gradients": 4, "optimizer": OPTIMIZER[optimizer], "ema": 4}


def activations(model: Any, spec: TokenSpec, precision: str, recompute: bool) -> int:
    """Bytes of activations per image at their peak; `recompute` keeps only inputs of blocks."""
    return max(
        _bytes(layers, rest, model.dropout > 0, BYTES[precision], recompute)
        for layers, rest in find(model.family).part("cost").activations(model, spec)
    )


def _bytes(layers: list[Layer], rest: int, dropout: bool, size: int, recompute: bool) -> int:
    blocks = [layer.block(size, dropout) for layer in layers]
    if recompute:
        inputs = sum(layer.count * layer.rows * layer.width for layer in layers)
        return (inputs + rest) * size + max(blocks)
    kept = sum(layer.count * block for layer, block in zip(layers, blocks, strict=True))
    return kept + rest * size
