"""What DiT costs: FLOPs and memory, counted from its config. Every token is in every step."""

import math

from nextbasis.config import TrainStage
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.dit.config import DiTConfig, DiTSamplerConfig
from nextbasis.plan.flops import Flops, of_products, of_time
from nextbasis.plan.memory import Layer

OUTPUTS = 2  # noise and variance of every channel


def forward(model: DiTConfig, spec: TokenSpec) -> Flops:
    """The loss of one image: one pass of the network."""
    m, w = _patches(model, spec), model.width
    weights = 4 * w**2 + 2 * w * int(w * model.mlp_ratio)
    block = 2 * (m * weights + 6 * w**2) + of_products(m, m, w)
    ends = 2 * m * w * model.patch**2 * (1 + OUTPUTS) * spec.channels + 2 * 2 * w**2
    return Flops(model.depth * block + ends + of_time(w), 0.0)


def sampling(model: DiTConfig, spec: TokenSpec, sampler: DiTSamplerConfig) -> Flops:
    """One image without guidance: as many passes as steps."""
    return forward(model, spec).times(sampler.num_steps)


def _patches(model: DiTConfig, spec: TokenSpec) -> int:
    return math.prod(spec.sequence) // model.patch**2


def activations(model: DiTConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    m, w, h = _patches(model, spec), model.width, int(model.width * model.mlp_ratio)
    layer = Layer(model.depth, m, w, kept=12 * w + 2 * h, masks=2 * w + h)
    modulations = 8 * w * model.depth
    return [([layer], modulations + 3 * m * w + 12 * m * model.patch**2 * spec.channels)]


def sequence(model: DiTConfig, spec: TokenSpec) -> str:
    """Patches, which attention sees."""
    return str(_patches(model, spec))


def noise_levels(model: DiTConfig) -> int:
    """Noise levels at which a step sees each token."""
    return 1


def layout(model: DiTConfig, spec: TokenSpec) -> tuple[int, int]:
    """Rows and columns of the tokens, which a structured A takes apart."""
    return spec.sequence


def notes(config: TrainStage) -> list[str]:
    """DiT has no schedule of its own that is easily overlooked."""
    return []
