"""The official checkpoint of LlamaGen: names and sizes are those of its kind."""

from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common.llama_config import LlamaConfig
from nextbasis.families.common.llama_official import CLASSES, RENAMES, SECTIONS, sizes
from nextbasis.families.common.spec import TokenSpec

__all__ = ["RENAMES", "SECTIONS", "SIGNATURE", "constants", "host_order", "sizes"]

SIGNATURE = (CLASSES,)  # PAR has it, too, and another


def constants(model: LlamaConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """LlamaGen's official state dict holds no constants beside its parameters."""
    return {}


def host_order(model: LlamaConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in raster order."""
    return orders.raster(*spec.grid)
