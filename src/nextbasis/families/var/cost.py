"""What VAR costs: FLOPs and memory, counted from its config. Keys and values are kept."""

from itertools import accumulate

from nextbasis.config import TrainStage
from nextbasis.data.pyramid import KERNEL
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.var.config import VARConfig, VARSamplerConfig
from nextbasis.plan.flops import Flops, of_products
from nextbasis.plan.memory import Layer


def forward(model: VARConfig, spec: TokenSpec) -> Flops:
    """The loss of one image."""
    return _sequence(model, spec, conditionings=1)


def sampling(model: VARConfig, spec: TokenSpec, sampler: VARSamplerConfig) -> Flops:
    """One image without guidance; as published, blocks are told the class at every level anew."""
    return _sequence(model, spec, conditionings=len(spec.levels))


def _sequence(model: VARConfig, spec: TokenSpec, conditionings: int) -> Flops:
    """All levels, once each."""
    n, w, lengths = spec.num_tokens, model.width, spec.level_lengths
    weights = 4 * w**2 + 2 * w * model.mlp_width
    ends = accumulate(lengths)
    attention = sum(of_products(m, end, w) for m, end in zip(lengths, ends, strict=True))
    inputs = 2 * (n - lengths[0]) * model.code_channels * w + _pyramid(model, spec)
    layers = 1 if model.shared_modulation else model.depth
    told = conditionings * 2 * (6 * layers + 2) * w**2
    blocks = model.depth * (2 * n * weights + attention)
    return Flops(blocks + inputs + told, 2 * n * w * spec.codebook_size)


def _pyramid(model: VARConfig, spec: TokenSpec) -> int:
    """What ids stand for: codes of levels upsampled and convolved, the map averaged over areas."""
    c, (height, width) = model.code_channels, spec.levels[-1]
    convolutions = len(spec.levels) * height * width * (c * KERNEL) ** 2
    coarse = [grid for grid in spec.levels if grid != spec.levels[-1]]  # others are not resized
    up = [height * columns * (rows + width) for rows, columns in coarse]
    down = [rows * width * (height + columns) for rows, columns in coarse[1:]]
    return 2 * (convolutions + c * (sum(up) + sum(down)))


def activations(model: VARConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    n, w, h = spec.num_tokens, model.width, model.mlp_width
    blocks = Layer(model.depth, n, w, kept=16 * w + 2 * h, masks=2 * w + h)
    return [([blocks], n * (3 * w + 2 * spec.codebook_size))]


def sequence(model: VARConfig, spec: TokenSpec) -> str:
    """Tokens that attention sees in training: those of all levels."""
    return str(spec.num_tokens)


def notes(config: TrainStage) -> list[str]:
    """VAR has no schedule of its own that is easily overlooked."""
    return []
