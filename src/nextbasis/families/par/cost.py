"""What PAR costs: a transformer of LlamaGen's kind that draws a token of every region at once."""

from nextbasis.config import TrainStage
from nextbasis.families.common import llama_cost
from nextbasis.families.common.llama_config import LlamaSamplerConfig
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.par.config import PARConfig
from nextbasis.plan.flops import Flops
from nextbasis.plan.memory import Layer


def forward(model: PARConfig, spec: TokenSpec) -> Flops:
    """The loss of one image."""
    return llama_cost.forward(model, spec, model.parallel)


def sampling(model: PARConfig, spec: TokenSpec, sampler: LlamaSamplerConfig) -> Flops:
    """One image without guidance."""
    return llama_cost.sampling(model, spec, model.parallel)


def activations(model: PARConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    return llama_cost.activations(model, spec, model.parallel)


def sequence(model: PARConfig, spec: TokenSpec) -> str:
    """Tokens that attention sees in training: class, special ones, all tokens but the last."""
    return str(llama_cost.num_rows(spec, model.parallel))


def notes(config: TrainStage) -> list[str]:
    """PAR has no schedule of its own that is easily overlooked."""
    return []
