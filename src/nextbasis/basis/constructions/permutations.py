"""Bases that reorder tokens otherwise than one by one along an order."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.basis import orders
from nextbasis.basis.definition import Basis, groups, one_by_one, permuted
from nextbasis.basis.invariants import mean_permutation
from nextbasis.basis.registry import basis


@basis("xar", "permutation", method="xAR: cells")
def xar(height: int, width: int, *, cells_per_side: int = 2) -> Basis:
    """Cells in raster order, the tokens of a cell together (xAR, next-X prediction).

    Raises: ValueError if the cells do not divide the grid.
    """
    order = orders.cells(height, width, cells_per_side)
    num_cells = cells_per_side**2
    steps = groups([len(order) // num_cells] * num_cells)
    return permuted((height, width), order, steps)


@basis("par", "permutation", method="PAR: regions in parallel")
def par(height: int, width: int, *, region: int = 2) -> Basis:
    """The first token of every region one by one, then one of each region together (PAR).

    Raises: ValueError if the regions do not divide the grid.
    """
    order = orders.par(height, width, region)
    together = region**2
    rest = len(order) // together - 1
    return permuted((height, width), order, groups([1] * together + [together] * rest))


@basis("fractalgen", "permutation", "frame", method="FractalGen: nested blocks")
def fractalgen(
    height: int, width: int, *, sizes: Sequence[int] = (), guiding_pixel: bool = False
) -> Basis:
    """Nested blocks in raster order, row by row (FractalGen's autoregressive generators).

    `sizes` are the sides of the blocks, by default 4 and 1 or what divides the grid. With
    `guiding_pixel` the mean of a block comes before it, which makes a frame; its inverse ignores
    the means.

    Raises: ValueError if the sizes are not nested.
    """
    grid = (height, width)
    if not guiding_pixel:
        order = orders.fractalgen(height, width, sizes)
        return permuted(grid, order, one_by_one(len(order)))
    blocks = orders.raster(height, width).view(height, width)
    rows = torch.stack(_guided(blocks, orders.nested_sizes(height, width, sizes), height * width))
    single = rows.amax(1) == 1  # a mean of several tokens has smaller entries
    inverse = (rows * single[:, None]).T
    steps = one_by_one(len(rows))
    return Basis(kind="frame", grid=grid, A=rows, S=inverse, steps=steps)


def _guided(
    block: Int[Tensor, "h w"], sizes: tuple[int, ...], num_tokens: int
) -> list[Float[Tensor, " n"]]:
    size, *inner = sizes
    rows = []
    for band in block.split(size, 0):
        for part in band.split(size, 1):
            mean = torch.zeros(num_tokens, dtype=torch.float64)
            mean[part.reshape(-1)] = 1 / part.numel()
            rows.append(mean)
            if inner:
                rows += _guided(part, tuple(inner), num_tokens)
    return rows


@basis("rar", "distribution", method="RAR: random orders")
def rar(height: int, width: int, *, ratio: float | int = 1) -> Basis:
    """A random order per sample with probability `ratio`, else raster order (RAR).

    A is the mean of the permutations, singular at ratio 1, and S the mean of their inverses: no
    inverse of A. `Basis.draw` gives the permutation of a sample, which is exactly invertible.

    Raises: ValueError if the ratio is not in [0, 1].
    """
    mean = mean_permutation(height * width, float(ratio))
    return Basis(
        kind="distribution",
        grid=(height, width),
        A=mean,
        S=mean.T,
        steps=one_by_one(len(mean)),
        ratio=float(ratio),
    )
