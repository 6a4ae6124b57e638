"""What RAR costs: FLOPs and memory, counted from its config. Keys and values are kept."""

from nextbasis.config import TrainStage
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.rar.config import RARConfig, RARSamplerConfig
from nextbasis.plan.flops import Flops, of_products
from nextbasis.plan.memory import Layer


def forward(model: RARConfig, spec: TokenSpec) -> Flops:
    """The loss of one image."""
    rows = spec.num_tokens + 1  # cls, class and all tokens but the last
    return _sequence(model, spec, of_products(rows, rows, model.width))


def sampling(model: RARConfig, spec: TokenSpec, sampler: RARSamplerConfig) -> Flops:
    """One image without guidance."""
    lengths = range(1, spec.num_tokens + 2)
    attention = sum(of_products(1, length, model.width) for length in lengths)
    return _sequence(model, spec, attention)


def _sequence(model: RARConfig, spec: TokenSpec, attention: int) -> Flops:
    """One sequence; `attention` is that of one block."""
    w, rows = model.width, spec.num_tokens + 1
    weights = (4 + 6) * w**2 + 2 * w * model.mlp_width
    blocks = model.depth * (2 * rows * weights + attention)
    logits = 2 * spec.num_tokens * w * spec.codebook_size
    return Flops(blocks + 2 * rows * 2 * w**2, logits)


def activations(model: RARConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    n, w, h = spec.num_tokens, model.width, model.mlp_width
    blocks = Layer(model.depth, n + 1, w, kept=24 * w + 2 * h, masks=2 * w + h)
    return [([blocks], n * (6 * w + 2 * spec.codebook_size))]


def sequence(model: RARConfig, spec: TokenSpec) -> str:
    """Tokens that attention sees in training: the class and all tokens but the last."""
    return str(spec.num_tokens + 1)


def notes(config: TrainStage) -> list[str]:
    """How the orders are annealed, where that is easily overlooked."""
    start, end = config.order.anneal_start, config.order.anneal_end
    if start != end:
        return []
    words = {0.0: "one order throughout", 1.0: "random orders throughout"}
    return [words.get(start, f"orders jump from random to the scan at {start:.0%}")]
