"""Where A starts: the basis that a config names, on the tokens of a grid."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.basis.definition import Basis
from nextbasis.basis.registry import find, make
from nextbasis.basis.statistics import with_unit_rows
from nextbasis.config import BasisConfig


def start(
    config: BasisConfig,
    grid: tuple[int, int],
    tokens: Callable[[], Float[Tensor, "i n d"]],
    seed: int,
) -> Basis | None:
    """The basis that is named or brought, None for the identity in the host's order.

    gain=unit divides rows by the root mean square of their coefficients: an extension, which a
    frame whose rows differ in scale needs before a noise schedule made for unit variance.

    `tokens` gives training tokens in raster order; `seed` is that of a random basis.

    Raises: ValueError naming the key for a basis that cannot be learned or modelled.
    """
    if config.gain == "unit" and (config.init == "identity" or config.structure != "dense"):
        raise ValueError(
            "basis.gain=unit needs a named basis and basis.structure=dense, "
            f"got basis.init={config.init} and basis.structure={config.structure}"
        )
    if config.init == "identity":
        return None
    options, known = dict(config.options), find(config.init).options
    if "tokens" in known:
        options["tokens"] = tokens()
    if "seed" in known:
        options.setdefault("seed", seed)
    basis = make(config.init, *grid, **options)
    if basis.kind == "distribution":
        raise ValueError(
            f"basis.init={config.init} is a distribution over bases, not one: MAR draws its own, "
            "RAR has order=random and order=annealed"
        )
    if config.learned and basis.A.shape[0] != basis.A.shape[1]:
        raise ValueError(
            f"basis.learned needs a square A, got the {tuple(basis.A.shape)} of "
            f"basis.init={config.init}"
        )
    return with_unit_rows(basis, tokens()) if config.gain == "unit" else basis


def in_host_order(
    basis: Basis, order: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "n m"], Int[Tensor, " m"]]:
    """A and S for tokens in the host's order, gains included, and the group of every row.

    Rows keep their order but those of a multiple of the identity, which has none of its own.
    """
    weight, decoder = basis.A / basis.gain[:, None], basis.S * basis.gain
    rows = torch.arange(basis.num_rows) if basis.has_order else order
    return weight[rows][:, order].float(), decoder[order][:, rows].float(), basis.step_of[rows]
