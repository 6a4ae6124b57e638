"""How much memory a training takes on each GPU, estimated from its config.

A block keeps for its backward pass what its operations need: counted below as numbers per row
(token), w the width and h the width inside its MLP. Attention keeps no scores.
"""

from dataclasses import dataclass
from typing import Any

from nextbasis.config import MARConfig, XARConfig
from nextbasis.generator import TokenSpec
from nextbasis.plan.flops import hidden_tokens

# Bytes per parameter: weight, gradient, two moments of Adam, moving average; all float32.
STATE = {"weights": 4, "gradients": 4, "adam": 8, "ema": 4}
BYTES = {"float32": 4, "bfloat16": 2}  # of an activation


@dataclass(frozen=True)
class Layer:
    """Blocks of one kind, per image."""

    count: int
    rows: int
    width: int
    kept: int  # numbers per row
    masks: int  # bytes per row, if there is dropout

    def block(self, size: int, dropout: bool) -> int:
        """Bytes that one block keeps; `size` is that of a number."""
        return self.rows * (self.kept * size + self.masks * dropout)


def activations(model: Any, spec: TokenSpec, precision: str, recompute: bool) -> int:
    """Bytes of activations per image at their peak; `recompute` keeps only inputs of blocks."""
    if not isinstance(model, MARConfig):
        layers, rest = _layers(model, spec)
        return _bytes(layers, rest, model.dropout > 0, BYTES[precision], recompute)
    return max(
        _bytes(*_mar(model, spec, hidden), model.dropout > 0, BYTES[precision], recompute)
        for hidden in set(hidden_tokens(model, spec))
    )


def _bytes(layers: list[Layer], rest: int, dropout: bool, size: int, recompute: bool) -> int:
    blocks = [layer.block(size, dropout) for layer in layers]
    if recompute:
        inputs = sum(layer.count * layer.rows * layer.width for layer in layers)
        return (inputs + rest) * size + max(blocks)
    kept = sum(layer.count * block for layer, block in zip(layers, blocks, strict=True))
    return kept + rest * size


def _mar(model: MARConfig, spec: TokenSpec, hidden: int) -> tuple[list[Layer], int]:
    n, head = spec.num_tokens, model.head_width

    def layer(depth: int, rows: int, w: int) -> Layer:
        h = int(model.mlp_ratio * w)
        return Layer(depth, rows, w, kept=8 * w + 2 * h, masks=2 * w + h)

    rows = hidden * model.head_batch_mul
    layers = [
        layer(model.encoder_depth, model.buffer_size + n - hidden, model.encoder_width),
        layer(model.decoder_depth, model.buffer_size + n, model.decoder_width),
        Layer(model.head_depth, rows, head, kept=10 * head, masks=0),
    ]
    return layers, rows * 6 * head + hidden * 2 * model.decoder_width


def _layers(model: Any, spec: TokenSpec) -> tuple[list[Layer], int]:
    n, w = spec.num_tokens, model.width
    if isinstance(model, XARConfig):
        h = int(w * 4 * 2 / 3.0)
        depth = model.encoder_depth + model.decoder_depth
        return [Layer(depth, n, w, kept=15 * w + 4 * h, masks=2 * w + h)], 9 * n * w
    h = model.mlp_width
    blocks = Layer(model.depth, n + 1, w, kept=24 * w + 2 * h, masks=2 * w + h)
    return [blocks], n * (6 * w + 2 * spec.codebook_size)
