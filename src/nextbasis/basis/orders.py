"""In which order tokens are visited: scans, random and annealed orders, cells, MAR's schedule.

A scan of an h x w grid is a permutation of its raster indices: scan[k] is the token visited k-th.
The first six: RAR, fig. 6.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Tensor

from nextbasis.basis.registry import find_order, order


@order("raster", method="row after row: A = I")
def raster(height: int, width: int) -> Int[Tensor, " n"]:
    """Row after row, left to right."""
    return torch.arange(height * width)


@order("alternate", method="every second row backwards")
def alternate(height: int, width: int) -> Int[Tensor, " n"]:
    """Row after row, every second one right to left."""
    rows = raster(height, width).view(height, width).clone()
    rows[1::2] = rows[1::2].flip(1)
    return rows.reshape(-1)


@order("zcurve", method="Morton order")
def zcurve(height: int, width: int) -> Int[Tensor, " n"]:
    """Morton order: the bits of column and row interleaved, the column's first."""
    index = raster(height, width)
    row, column = index // width, index % width
    code = torch.zeros_like(index)
    for bit in range(max(height, width).bit_length()):
        code |= (column >> bit & 1) << (2 * bit) | (row >> bit & 1) << (2 * bit + 1)
    return code.argsort()


@order("spiral_in", method="inward spiral")
def spiral_in(height: int, width: int) -> Int[Tensor, " n"]:
    """From the top left corner down the left side, then right, up and left, inwards."""
    rows = raster(height, width).view(height, width)
    visited = []
    while rows.numel():
        visited.append(rows[:, 0])
        rows = rows[:, 1:].rot90(-1)  # the bottom row becomes the left column
    return torch.cat(visited)


@order("spiral_out", method="outward spiral")
def spiral_out(height: int, width: int) -> Int[Tensor, " n"]:
    """The inward spiral backwards."""
    return spiral_in(height, width).flip(0)


@order("par", method="PAR: regions in parallel")
def par(height: int, width: int, region: int = 2) -> Int[Tensor, " n"]:
    """The first token of each of region x region regions, then the second of each, and so on (PAR).

    Raises: ValueError if the regions do not divide the grid.
    """
    if region < 1 or height % region or width % region:
        raise ValueError(
            f"{region} x {region} regions must divide the grid, got {height} x {width} tokens"
        )
    return rearrange(
        raster(height, width),
        "(d1 h d2 w) -> (h w d1 d2)",
        d1=region,
        d2=region,
        h=height // region,
    )


@order("subsample", method="one of each quadrant in turn")
def subsample(height: int, width: int) -> Int[Tensor, " n"]:
    """The top left token of each quadrant, then the next of each; the same as PAR's 2 x 2 order.

    Raises: ValueError if the grid has an odd side.
    """
    _check_even("subsample", height, width)
    return par(height, width, 2)


@order("hilbert", method="Hilbert curve")
def hilbert(height: int, width: int) -> Int[Tensor, " n"]:
    """Hilbert's curve from the top left corner, generalised to any rectangle.

    Every step goes to a neighbour, except for one diagonal step at most if a side is odd.
    """
    rows = raster(height, width).view(height, width)
    return _curve(rows if width >= height else rows.T)


def _curve(block: Int[Tensor, "h w"]) -> Int[Tensor, " n"]:
    """From the block's top left to its top right corner: across, or down, across and up."""
    height, width = block.shape
    if height == 1 or width == 1:
        return block.reshape(-1)
    if 2 * width > 3 * height:
        half = _even_half(width)
        return torch.cat((_curve(block[:, :half]), _curve(block[:, half:])))
    left, top = width // 2, _even_half(height)
    down, up = block[:top, :left].T, block[:top, left:].flip(0, 1).T
    return torch.cat((_curve(down), _curve(block[top:]), _curve(up)))


def _even_half(side: int) -> int:
    """About half a side, even if possible: an odd part would end at its opposite corner."""
    half = side // 2
    return half + 1 if half % 2 and side > 2 else half


def cells(height: int, width: int, cells_per_side: int) -> Int[Tensor, " n"]:
    """Cell after cell in raster order, tokens in raster order inside each (xAR).

    A sequence (one row of more than one token) is cut into the same number of runs.

    Raises: ValueError if the cells do not divide the grid or sequence.
    """
    if height == 1 and width > 1:
        if width % cells_per_side**2:
            raise ValueError(
                f"{cells_per_side**2} cells of equal size (model.cells_per_side = "
                f"{cells_per_side}) do not divide the {width} rows of this basis"
            )
        return raster(height, width)
    if cells_per_side < 1 or height % cells_per_side or width % cells_per_side:
        raise ValueError(
            f"model.cells_per_side must divide the grid, got {cells_per_side} "
            f"for {height} x {width} tokens"
        )
    split = raster(height, width).view(
        cells_per_side, height // cells_per_side, cells_per_side, width // cells_per_side
    )
    return split.permute(0, 2, 1, 3).reshape(-1)


@order("xar", method="xAR: cells")
def xar(height: int, width: int) -> Int[Tensor, " n"]:
    """The published 2 x 2 cells of xAR.

    Raises: ValueError if the grid has an odd side.
    """
    _check_even("xar", height, width)
    return cells(height, width, 2)


def _check_even(name: str, height: int, width: int) -> None:
    if height % 2 or width % 2:
        raise ValueError(f"order.scan={name} needs even sides, got a {height} x {width} grid")


@order("fractalgen", method="FractalGen: nested blocks")
def fractalgen(height: int, width: int, sizes: Sequence[int] = ()) -> Int[Tensor, " n"]:
    """Nested blocks, each in raster order (FractalGen's autoregressive generators).

    `sizes` are the blocks' sides in tokens, the largest first; see `nested_sizes`.
    """
    blocks = raster(height, width).view(1, height, width)
    for size in nested_sizes(height, width, sizes):
        blocks = rearrange(blocks, "n (h p) (w q) -> (n h w) p q", p=size, q=size)
    return blocks.reshape(-1)


def nested_sizes(height: int, width: int, sizes: Sequence[int] = ()) -> tuple[int, ...]:
    """Sides of nested square blocks inside the grid: `sizes`, else 4 and 1, 2 and 1, or only 1.

    The released models list their images' side first, as in (256, 16, 4, 1): allowed here, too.

    Raises: ValueError if a size is no proper divisor of the one before it, or the last is not 1.
    """
    if not sizes:
        divides = [size for size in (4, 2) if not (height % size or width % size)]
        blocks = [size for size in divides if size < max(height, width)]
        return (blocks[0], 1) if blocks else (1,)
    nested = min(sizes) >= 1 and not (height % sizes[0] or width % sizes[0])
    nested &= all(a > b and a % max(b, 1) == 0 for a, b in zip(sizes, sizes[1:], strict=False))
    if not nested or sizes[-1] != 1:
        raise ValueError(
            f"sizes must each divide the one before, from {height} x {width} tokens down to 1, "
            f"such as (4, 1); got {tuple(sizes)}"
        )
    return tuple(size for size in sizes if (size, size) != (height, width) or size == 1)


def scan(name: str, height: int, width: int) -> Int[Tensor, " n"]:
    """The named scan of a grid.

    Raises: ValueError if there is no such scan, or the grid cannot have it.
    """
    found: Tensor = find_order(name).make(height, width)
    return found


def random_ratio(progress: float, start: float, end: float) -> float:
    """RAR's probability r of random orders at a share of training: 1 until start, 0 from end."""
    if progress < start:
        return 1.0
    return 0.0 if progress >= end else 1.0 - (progress - start) / (end - start)


def annealed_orders(
    batch: int, target: Int[Tensor, " n"], ratio: float, generator: torch.Generator
) -> Int[Tensor, "b n"]:
    """One order per sample: uniformly random with probability `ratio`, else the target scan."""
    is_random = torch.rand(batch, generator=generator) < ratio
    return torch.stack(
        [
            torch.randperm(len(target), generator=generator) if chosen else target
            for chosen in is_random.tolist()
        ]
    )


def random_orders(batch: int, num_tokens: int, generator: torch.Generator) -> Int[Tensor, "b n"]:
    """A uniformly random order per sample (MAR)."""
    return annealed_orders(batch, torch.arange(num_tokens), 1.0, generator)


def hidden_counts(num_tokens: int, num_iter: int) -> list[int]:
    """Tokens still hidden after each iteration of MAR's cosine schedule; the last is 0.

    At least one token is revealed an iteration.

    Raises: ValueError if there are more iterations than tokens.
    """
    if num_iter > num_tokens:
        raise ValueError(f"sampler.num_iter must be at most {num_tokens} (tokens), got {num_iter}")
    counts, hidden = [], num_tokens
    for iteration in range(num_iter):
        wanted = math.floor(num_tokens * math.cos(math.pi / 2 * (iteration + 1) / num_iter))
        hidden = max(1, min(hidden - 1, wanted)) if iteration + 1 < num_iter else 0
        counts.append(hidden)
    return counts


def block_causal(num_cells: int, cell_size: int) -> Bool[Tensor, "n n"]:
    """Who may look at whom: every token at its own cell and the cells before it (xAR)."""
    cell = torch.arange(num_cells * cell_size) // cell_size
    return cell[:, None] >= cell[None, :]
