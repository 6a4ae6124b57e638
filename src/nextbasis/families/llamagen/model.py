"""LlamaGen: one id after another (Sun et al. 2024, "Autoregressive Model Beats Diffusion: Llama for
Scalable Image Generation", section 2.2).
"""

from nextbasis.basis import orders
from nextbasis.config import OrderConfig
from nextbasis.families.common.llama import Llama
from nextbasis.families.common.llama_config import LlamaConfig
from nextbasis.families.common.spec import TokenSpec


class LlamaGen(Llama):
    """The transformer along one scan of the grid, officially row after row."""

    grouped = False

    def __init__(self, config: LlamaConfig, spec: TokenSpec, order: OrderConfig) -> None:
        """`order` says which scan; it is the same from the first step on, nothing is annealed."""
        super().__init__(config, spec, order, orders.scan(order.scan, *spec.grid), parallel=1)


MODEL = LlamaGen
