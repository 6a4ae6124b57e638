"""What SiT costs: FLOPs and memory, counted from its config. With a teacher it is REPA's."""

from nextbasis.config import TrainStage
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.sit import teacher
from nextbasis.families.sit.config import SiTConfig, SiTSamplerConfig
from nextbasis.plan.flops import BACKWARD, Flops, of_products, of_time
from nextbasis.plan.memory import Layer


def forward(model: SiTConfig, spec: TokenSpec) -> Flops:
    """The loss of one image while training, and what it is aligned with.

    A teacher has no backward pass, so a share of its forward pass stands here.
    """
    m, w, hidden = _patches(model, spec), model.width, model.align_hidden
    projectors = sum(2 * m * (w * hidden + hidden**2 + hidden * f) for f in model.widths)
    taught = sum(_teacher(model, spec, f) for f in model.widths) / (1 + BACKWARD)
    return Flops(_network(model, spec) + projectors + taught, 0.0)


def sampling(model: SiTConfig, spec: TokenSpec, sampler: SiTSamplerConfig) -> Flops:
    """One image without guidance; the released samplers of SiT call the network twice as often."""
    calls = 2 * sampler.num_steps - 1 if sampler.solver == "heun" else sampler.num_steps
    return Flops(calls * _network(model, spec), 0.0)


def _patches(model: SiTConfig, spec: TokenSpec) -> int:
    return (spec.num_rows or spec.num_tokens) // model.patch**2


def _network(model: SiTConfig, spec: TokenSpec) -> int:
    """All patches of one image through the transformer, and what its blocks are told."""
    m, w, numbers = _patches(model, spec), model.width, model.patch**2 * spec.channels
    weights = 4 * w**2 + 2 * w * int(w * model.mlp_ratio)
    block = 2 * m * weights + 2 * 6 * w**2 + of_products(m, m, w)
    outputs = numbers * (2 if model.learn_sigma else 1)
    return model.depth * block + 2 * m * w * (numbers + outputs) + 2 * 2 * w**2 + of_time(w)


def _teacher(model: SiTConfig, spec: TokenSpec, features: int) -> int:
    """The clean patches of one image through a teacher; as features they are free."""
    if model.teacher == "tokens":
        return 0
    m, numbers = _patches(model, spec), model.patch**2 * spec.channels
    weights = (4 + 2 * teacher.MLP_RATIO) * features**2
    block = 2 * m * weights + of_products(m, m, features)
    return teacher.DEPTH * block + 2 * m * numbers * features


def activations(model: SiTConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    m, w, h = _patches(model, spec), model.width, int(model.width * model.mlp_ratio)
    blocks = Layer(model.depth, m, w, kept=12 * w + 2 * h, masks=2 * w + h)
    projectors = sum(m * (4 * model.align_hidden + 2 * f) for f in model.widths)
    return [([blocks], 4 * m * w + projectors)]


def sequence(model: SiTConfig, spec: TokenSpec) -> str:
    """Patches that attention sees in training."""
    return str(_patches(model, spec))


def noise_levels(model: SiTConfig) -> int:
    """Noise levels at which a step sees each token."""
    return 1


def layout(model: SiTConfig, spec: TokenSpec) -> tuple[int, int]:
    """Rows and columns of the tokens, which a structured A takes apart."""
    return spec.sequence


def notes(config: TrainStage) -> list[str]:
    """What is trained instead of released REPA: its teacher needs pixels."""
    model = config.model
    if not isinstance(model, SiTConfig) or not model.widths:
        return []
    return [f"aligned with a teacher of tokens ({model.teacher}), not with DINOv2"]
