"""In which order tokens are visited: scans, random and annealed orders, cells, MAR's schedule.

A scan of an h x w grid is a permutation of its raster indices: scan[k] is the token visited k-th.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def raster(height: int, width: int) -> Int[Tensor, " n"]:
    """Row after row, left to right."""
    return torch.arange(height * width)


def alternate(height: int, width: int) -> Int[Tensor, " n"]:
    """Row after row, every second one right to left."""
    rows = raster(height, width).view(height, width).clone()
    rows[1::2] = rows[1::2].flip(1)
    return rows.reshape(-1)


def zcurve(height: int, width: int) -> Int[Tensor, " n"]:
    """Morton order: the bits of column and row interleaved, the column's first."""
    index = raster(height, width)
    row, column = index // width, index % width
    code = torch.zeros_like(index)
    for bit in range(max(height, width).bit_length()):
        code |= (column >> bit & 1) << (2 * bit) | (row >> bit & 1) << (2 * bit + 1)
    return code.argsort()


def spiral_in(height: int, width: int) -> Int[Tensor, " n"]:
    """From the top left corner down the left side, then right, up and left, inwards."""
    rows = raster(height, width).view(height, width)
    visited = []
    while rows.numel():
        visited.append(rows[:, 0])
        rows = rows[:, 1:].rot90(-1)  # the bottom row becomes the left column
    return torch.cat(visited)


def spiral_out(height: int, width: int) -> Int[Tensor, " n"]:
    """The inward spiral backwards."""
    return spiral_in(height, width).flip(0)


def subsample(height: int, width: int) -> Int[Tensor, " n"]:
    """The top left token of each quadrant-sized stride first: all positions of the four quadrants.

    Raises: ValueError if the grid has an odd side.
    """
    if height % 2 or width % 2:
        raise ValueError(f"order.scan=subsample needs even sides, got a {height} x {width} grid")
    quadrants = raster(height, width).view(2, height // 2, 2, width // 2)
    return quadrants.permute(1, 3, 0, 2).reshape(-1)


SCANS: dict[str, Callable[[int, int], Tensor]] = {
    "raster": raster,
    "alternate": alternate,
    "zcurve": zcurve,
    "spiral_in": spiral_in,
    "spiral_out": spiral_out,
    "subsample": subsample,
}  # RAR, fig. 6


def scan(name: str, height: int, width: int) -> Int[Tensor, " n"]:
    """The named scan of a grid.

    Raises: ValueError if there is no such scan.
    """
    if name not in SCANS:
        raise ValueError(f"order.scan must be one of {', '.join(SCANS)}; got '{name}'")
    return SCANS[name](height, width)


def cells(height: int, width: int, cells_per_side: int) -> Int[Tensor, " n"]:
    """Cell after cell in raster order, tokens in raster order inside each (xAR).

    Raises: ValueError if the cells do not divide the grid.
    """
    if height % cells_per_side or width % cells_per_side:
        raise ValueError(
            f"model.cells_per_side must divide the grid, got {cells_per_side} "
            f"for {height} x {width} tokens"
        )
    split = raster(height, width).view(
        cells_per_side, height // cells_per_side, cells_per_side, width // cells_per_side
    )
    return split.permute(0, 2, 1, 3).reshape(-1)


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
