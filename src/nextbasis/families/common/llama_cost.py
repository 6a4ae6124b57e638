"""What a transformer of LlamaGen's kind costs, counted from its config. Keys and values are kept.

The first `parallel` tokens are drawn one after another, then as many at once; 1 is LlamaGen.
"""

from nextbasis.families.common.llama_config import LlamaConfig
from nextbasis.families.common.spec import TokenSpec
from nextbasis.plan.flops import Flops, of_products
from nextbasis.plan.memory import Layer


def forward(model: LlamaConfig, spec: TokenSpec, parallel: int) -> Flops:
    """The loss of one image."""
    rows = num_rows(spec, parallel)
    return _passed(model, spec, rows, of_products(rows, rows, model.width))


def sampling(model: LlamaConfig, spec: TokenSpec, parallel: int) -> Flops:
    """One image without guidance; rows whose tokens are drawn last are not fed."""
    groups = range(2 * parallel, spec.num_tokens + 1, parallel)
    passes = [(1, length) for length in range(1, parallel + 1)]
    passes += [(parallel, length) for length in groups]
    attention = sum(of_products(rows, length, model.width) for rows, length in passes)
    return _passed(model, spec, spec.num_tokens, attention)


def _passed(model: LlamaConfig, spec: TokenSpec, rows: int, attention: int) -> Flops:
    """Rows through all blocks, each of which mixes them by `attention`, and all logits."""
    w = model.width
    weights = 4 * w**2 + 3 * w * model.mlp_width
    logits = 2 * spec.num_tokens * w * spec.codebook_size
    return Flops(model.depth * (2 * rows * weights + attention), logits)


def activations(
    model: LlamaConfig, spec: TokenSpec, parallel: int
) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    n, w, h = spec.num_tokens, model.width, model.mlp_width
    rows = num_rows(spec, parallel)
    blocks = Layer(model.depth, rows, w, kept=12 * w + 4 * h, masks=2 * w)
    return [([blocks], n * (3 * w + 2 * spec.codebook_size))]


def num_rows(spec: TokenSpec, parallel: int) -> int:
    """Rows of the sequence in training: class, all tokens but the last, special tokens."""
    return spec.num_tokens + parallel - 1
