"""How the speed of models of LlamaGen's kind is measured: sizes, batches, optimiser and rows."""

from typing import Any

from torch import nn

from nextbasis.families.common.llama import Draws
from nextbasis.families.common.llama_config import LlamaSamplerConfig
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.speed import NUM_CLASSES, WIDTH, Row, sampling, training

SPEC = TokenSpec.of_grid((16, 16), channels=0, codebook_size=1024, num_classes=NUM_CLASSES)
TRAINING_BATCH, SAMPLING_BATCH = 16, 16
RECIPE = {"beta2": 0.95, "weight_decay": 0.05, "clip": 1.0}  # and no moving average
SIZES: dict[str, Any] = {
    "label_drop": 0.1,
    "width": WIDTH,
    "depth": 8,
    "num_heads": 8,
    "mlp_width": 768,  # two thirds of 4 x 256, rounded up to a multiple of 256 as officially
}


def rows(family: str, guidance: float) -> list[Row]:
    """Training with and without dropout, sampling with and without guidance."""
    return [
        training(f"{family}-train", family, dropout=0.1),
        training(f"{family}-train-nodrop", family, dropout=0.0),
        sampling(f"{family}-sample", family, guidance=guidance),
        sampling(f"{family}-sample-cfg1", family, guidance=1.0),
    ]


def sampler(guidance: float, **common: Any) -> LlamaSamplerConfig:
    """The benchmark's sampler; `common` is what all families' samplers are told."""
    plain: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return LlamaSamplerConfig(guidance=guidance, guidance_interval=-1, **plain, **common)


def fix(draws: Draws) -> Draws:
    """A step's random numbers: the work is the same whatever they are."""
    return draws


def prepare(backbone: nn.Module) -> None:
    """Nothing: a fresh model computes all that a trained one does."""
