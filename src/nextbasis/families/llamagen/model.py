"""LlamaGen: one id after another (Sun et al. 2024, "Autoregressive Model Beats Diffusion: Llama for
Scalable Image Generation", section 2.2).
"""

import torch
from jaxtyping import Int
from torch import Tensor

from nextbasis.basis import orders
from nextbasis.config import OrderConfig
from nextbasis.families.common.attention import Rotation, grid_rotation
from nextbasis.families.common.llama import Llama
from nextbasis.families.common.llama_config import LlamaConfig
from nextbasis.families.common.spec import TokenSpec


class LlamaGen(Llama):
    """The transformer along one scan of the grid, officially row after row."""

    grouped = False

    def __init__(self, config: LlamaConfig, spec: TokenSpec, order: OrderConfig) -> None:
        """`order` says which scan; it is the same from the first step on, nothing is annealed."""
        super().__init__(config, spec, order, orders.scan(order.scan, *spec.grid), parallel=1)

    def _rows_rotation(self, grid: tuple[int, int], scan: Int[Tensor, " c"]) -> Rotation:
        """Angles of the rows: of the class none, of tokens those of their cells.

        Differs from the base class in its annotation only, which asks for as many rows as tokens.
        """
        cells = grid_rotation(*grid, self.config.width // self.config.num_heads)[scan]
        return torch.cat((torch.zeros_like(cells[:1]), cells))


MODEL = LlamaGen
