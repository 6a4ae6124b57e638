"""What xAR costs: FLOPs and memory, counted from its config. A clean cell's keys are kept."""

from nextbasis.config import TrainStage
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.xar.block import gated_width
from nextbasis.families.xar.config import XARConfig, XARSamplerConfig
from nextbasis.plan.flops import Flops, of_products, of_text, of_time
from nextbasis.plan.memory import Layer


def forward(model: XARConfig, spec: TokenSpec) -> Flops:
    """The loss of one image: one block-causal pass over all cells."""
    passes = [(cell, 1) for cell in range(model.cells_per_side**2)]
    text = of_text(model.width, model.text_depth, spec.text)
    return Flops(_cells(model, spec, passes) + text, 0.0)


def sampling(model: XARConfig, spec: TokenSpec, sampler: XARSamplerConfig) -> Flops:
    """One image without guidance."""
    cells = model.cells_per_side**2
    # Every clean cell but the last passes once more: its keys and values are kept.
    passes = [(cell, sampler.num_steps + (cell + 1 < cells)) for cell in range(cells)]
    return Flops(_cells(model, spec, passes), 0.0)


def _cells(model: XARConfig, spec: TokenSpec, passes: list[tuple[int, int]]) -> int:
    """Cells through the transformer: (which, how often); a cell attends to those before it."""
    w, m = model.width, spec.num_tokens // model.cells_per_side**2
    depth = model.encoder_depth + model.decoder_depth
    weights = 4 * w**2 + 3 * w * gated_width(w, model.mlp_ratio)
    per_token = depth * weights + w**2 + 2 * w * spec.channels
    once = 2 * m * per_token + 2 * depth * 6 * w**2 + of_time(w)
    return sum(count * (once + depth * of_products(m, m * (cell + 1), w)) for cell, count in passes)


def activations(model: XARConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    n, w, h = spec.num_tokens, model.width, gated_width(model.width, model.mlp_ratio)
    depth = model.encoder_depth + model.decoder_depth
    return [([Layer(depth, n, w, kept=15 * w + 4 * h, masks=2 * w + h)], 9 * n * w)]


def sequence(model: XARConfig, spec: TokenSpec) -> str:
    """Tokens that attention sees in training."""
    return str(spec.num_tokens)


def noise_levels(model: XARConfig) -> int:
    """Noise levels at which a step sees each token."""
    return 1


def layout(model: XARConfig, spec: TokenSpec) -> tuple[int, int]:
    """Cells and tokens of a cell, which a structured A takes apart; the grid of a sequence."""
    if spec.num_rows:
        return spec.grid
    cells = model.cells_per_side**2
    return cells, spec.num_tokens // cells


def notes(config: TrainStage) -> list[str]:
    """xAR has no schedule of its own that is easily overlooked."""
    return []
