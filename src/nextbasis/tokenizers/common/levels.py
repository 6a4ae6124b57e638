"""What tokenizers of several levels are told of them."""

from itertools import pairwise
from typing import Any

from nextbasis.config.checks import positive
from nextbasis.data.layout import Grid


def check_levels(section: str, part: Any) -> None:
    """Nothing if `levels`, `codebook_size`, `num_phis` and `blend` of a config can be.

    Raises: ValueError naming the key.
    """
    positive(section, part, "codebook_size", "blend")
    rising = all(before <= after for before, after in pairwise(part.levels))
    if not part.levels or not rising or part.levels[0] < 1:
        raise ValueError(
            f"{section}.levels must be sides of grids, from coarse to fine; got {part.levels}"
        )
    if part.num_phis < 0:
        raise ValueError(
            f"{section}.num_phis must be at least 0 (one a level), got {part.num_phis}"
        )
    if part.blend > 1:
        raise ValueError(f"{section}.blend must be at most 1, got {part.blend}")


def grids(section: str, levels: list[int], grid: Grid) -> tuple[Grid, ...]:
    """Square grids of these sides, the last of which must be the `grid` of the images.

    Raises: ValueError naming the key.
    """
    if levels[-1] != grid[0]:
        raise ValueError(
            f"{section}.levels must end with {grid[0]}, the side of the images' grid; got {levels}"
        )
    return tuple((side, side) for side in levels)
