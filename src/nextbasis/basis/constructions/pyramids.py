"""Bases of several resolutions: VAR's scales and FAR's low-pass levels, both longer than x."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.basis.constructions.resampling import grid_area, grid_bicubic
from nextbasis.basis.definition import Basis, groups
from nextbasis.basis.registry import basis

VAR_SCALES = {
    8: (1, 2, 3, 4, 5, 6, 8),  # no official list; the official one's spirit
    16: (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),  # VAR, 256 px
    32: (1, 2, 3, 4, 6, 9, 13, 18, 24, 32),  # VAR, 512 px
}
FAR_LAST_LEVEL = 10  # FAR's released sampler goes from level 2 to 10 on 16 x 16 tokens


@basis("var", "frame", method="VAR: residual scales")
def var(height: int, width: int, *, scales: Sequence[int] = ()) -> Basis:
    """VAR's residual pyramid without its quantiser and convolutions: next-scale prediction.

    Scale k holds D_k of what the scales before it left over: y_k = D_k R_k x with
    R_(k+1) = (I - U_k D_k) R_k, D_k area downsampling and U_k bicubic upsampling. S sums the
    upsampled scales; it is a left inverse, not the pseudo-inverse. `scales` are sides in tokens,
    the longer one's if the grid is no square; the last must be the grid.

    Raises: ValueError if the scales do not rise to the grid's side.
    """
    grid = (height, width)
    rest = torch.eye(height * width, dtype=torch.float64)
    rows, ups = [], []
    for size in _sizes("scales", grid, scales or default_scales(max(grid)), up_to_grid=True):
        down, up = grid_area(grid, size), grid_bicubic(size, grid)
        rows.append(down @ rest)
        ups.append(up)
        rest = rest - up @ rows[-1]
    return _frame(grid, rows, torch.cat(ups, 1))


@basis("var_pool", "frame", method="VAR as BAR words it: average pools")
def var_pool(height: int, width: int, *, scales: Sequence[int] = ()) -> Basis:
    """Average pools of several sizes: VAR as BAR's text words it. The last one is x itself.

    Raises: ValueError if the scales do not rise to the grid's side.
    """
    grid = (height, width)
    sizes = _sizes("scales", grid, scales or default_scales(max(grid)), up_to_grid=True)
    return _ending_in_tokens(grid, [grid_area(grid, size) for size in sizes])


@basis("far", "frame", method="FAR: low-pass chain, then x")
def far(height: int, width: int, *, levels: Sequence[int] = ()) -> Basis:
    """FAR's chain of low-pass images, [L_c; …; I], as its released sampler visits them.

    L_c downsamples to c x c tokens (area) and back up (bicubic). The inverse reads the last block.

    Raises: ValueError if the levels do not rise, or reach the grid's side.
    """
    grid = (height, width)
    return _ending_in_tokens(grid, [*_low_passes(grid, levels), _identity(grid)])


@basis("far_telescoped", "frame", method="FAR: what each level adds")
def far_telescoped(height: int, width: int, *, levels: Sequence[int] = ()) -> Basis:
    """What every level adds to the one before, [L_2; L_3 - L_2; …]; the blocks' sum is x.

    Raises: ValueError if the levels do not rise, or reach the grid's side.
    """
    grid = (height, width)
    chain = [*_low_passes(grid, levels), _identity(grid)]
    rows = [chain[0], *(after - before for before, after in zip(chain, chain[1:], strict=False))]
    return _frame(grid, rows, torch.cat([_identity(grid)] * len(rows), 1))


def default_scales(side: int) -> tuple[int, ...]:
    """VAR's scales for a grid's longer side: the known list, else that of 16, stretched."""
    if side in VAR_SCALES:
        return VAR_SCALES[side]
    stretched = {(2 * scale * side + 16) // 32 for scale in VAR_SCALES[16]}  # rounded
    return tuple(sorted({1, side} | (stretched - {0})))


def default_levels(side: int) -> tuple[int, ...]:
    """FAR's levels for a grid's longer side: from 2 to 10, or as far as the grid goes."""
    return tuple(range(2, min(FAR_LAST_LEVEL, side - 1) + 1))


def _sizes(
    option: str, grid: tuple[int, int], sides: Sequence[int], up_to_grid: bool
) -> list[tuple[int, int]]:
    """Height and width of a resolution whose longer side is given; none falls below 1."""
    longer = max(grid)
    rising = all(0 < a < b for a, b in zip(sides, sides[1:], strict=False)) and min(sides) > 0
    if not rising or (sides[-1] != longer if up_to_grid else sides[-1] >= longer):
        end = f"end at {longer}" if up_to_grid else f"stay below {longer}"
        raise ValueError(
            f"{option} must rise and {end} on {grid[0]} x {grid[1]} tokens, got {tuple(sides)}"
        )
    return [
        (max(1, round(grid[0] * side / longer)), max(1, round(grid[1] * side / longer)))
        for side in sides
    ]


def _low_passes(grid: tuple[int, int], levels: Sequence[int]) -> list[Float[Tensor, "n n"]]:
    chosen = levels or default_levels(max(grid))
    if not chosen:
        return []
    sizes = _sizes("levels", grid, chosen, up_to_grid=False)
    return [grid_bicubic(size, grid) @ grid_area(grid, size) for size in sizes]


def _identity(grid: tuple[int, int]) -> Float[Tensor, "n n"]:
    return torch.eye(grid[0] * grid[1], dtype=torch.float64)


def _ending_in_tokens(grid: tuple[int, int], rows: list[Tensor]) -> Basis:
    """A frame whose last block is x itself, from which S takes it."""
    redundant = sum(map(len, rows[:-1]))
    zeros = torch.zeros(len(rows[-1]), redundant, dtype=torch.float64)
    return _frame(grid, rows, torch.cat((zeros, _identity(grid)), 1))


def _frame(grid: tuple[int, int], rows: list[Tensor], inverse: Float[Tensor, "n m"]) -> Basis:
    steps = groups(map(len, rows))
    return Basis(kind="frame", grid=grid, A=torch.cat(rows), S=inverse, steps=steps)
