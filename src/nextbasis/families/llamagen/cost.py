"""What LlamaGen costs: a transformer of its kind that draws one token at a time."""

from nextbasis.config import TrainStage
from nextbasis.families.common import llama_cost
from nextbasis.families.common.llama_config import LlamaConfig, LlamaSamplerConfig
from nextbasis.families.common.spec import TokenSpec
from nextbasis.plan.flops import Flops
from nextbasis.plan.memory import Layer


def forward(model: LlamaConfig, spec: TokenSpec) -> Flops:
    """The loss of one image."""
    return llama_cost.forward(model, spec, 1)


def sampling(model: LlamaConfig, spec: TokenSpec, sampler: LlamaSamplerConfig) -> Flops:
    """One image without guidance."""
    return llama_cost.sampling(model, spec, 1)


def activations(model: LlamaConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    return llama_cost.activations(model, spec, 1)


def sequence(model: LlamaConfig, spec: TokenSpec) -> str:
    """Tokens that attention sees in training: the class and all tokens but the last."""
    return str(llama_cost.num_rows(spec, 1))


def notes(config: TrainStage) -> list[str]:
    """LlamaGen has no schedule of its own that is easily overlooked."""
    return []
