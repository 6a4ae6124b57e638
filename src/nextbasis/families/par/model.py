"""PAR: ids of distant regions drawn together (Wang et al. 2024, "Parallelized Autoregressive Visual
Generation", section 3).

The grid is cut into as many equal regions as tokens are drawn together. The first token of each
region is drawn alone, one region after another; then the second of all regions at once, and so on.
"""

from nextbasis.basis import orders
from nextbasis.config import OrderConfig
from nextbasis.families.common.llama import Llama
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.par.config import PARConfig


class PAR(Llama):
    """The transformer along the regions."""

    grouped = True

    def __init__(self, config: PARConfig, spec: TokenSpec, order: OrderConfig) -> None:
        """Regions say in which order tokens are drawn; `order` is not looked at.

        Raises: ValueError if the regions do not divide the grid, or are single tokens.
        """
        side, (height, width) = config.regions_per_side, spec.grid
        if height % side or width % side:
            raise ValueError(
                f"model.parallel={config.parallel} needs a grid of tokens whose sides are "
                f"multiples of {side}, got {height} x {width} tokens"
            )
        scan = orders.par(height, width, side)
        super().__init__(config, spec, order, scan, config.parallel)


MODEL = PAR
