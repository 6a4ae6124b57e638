"""What PAR costs: a transformer of LlamaGen's kind that draws a token of every region at once."""

from nextbasis.config import TrainStage
from nextbasis.families.common.llama_config import LlamaSamplerConfig
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.par.config import PARConfig
from nextbasis.plan import llama
from nextbasis.plan.flops import Flops
from nextbasis.plan.memory import Layer


def forward(model: PARConfig, spec: TokenSpec) -> Flops:
    """The loss of one image."""
    return llama.forward(model, spec, model.parallel)


def sampling(model: PARConfig, spec: TokenSpec, sampler: LlamaSamplerConfig) -> Flops:
    """One image without guidance."""
    return llama.sampling(model, spec, model.parallel)


def activations(model: PARConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass."""
    return llama.activations(model, spec, model.parallel)


def sequence(model: PARConfig, spec: TokenSpec) -> str:
    """Tokens that attention sees in training: class, special ones, all tokens but the last."""
    return str(llama.num_rows(spec, model.parallel))


def notes(config: TrainStage) -> list[str]:
    """PAR has no schedule of its own that is easily overlooked."""
    return []
