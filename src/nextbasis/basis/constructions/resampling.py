"""Linear resampling of one axis as a matrix; a grid's is the Kronecker product of its axes'.

The same maps as PyTorch's `interpolate` with modes area and bicubic, which VAR and FAR use.
"""

import torch
from jaxtyping import Float
from torch import Tensor

SHARPNESS = -0.75  # parameter of the cubic kernel (Keys 1981), as PyTorch has it


def area(size: int, target: int) -> Float[Tensor, "target size"]:
    """Mean of the inputs that each output overlaps, from `size` to `target` entries."""
    matrix = torch.zeros(target, size, dtype=torch.float64)
    for row in range(target):
        start, stop = row * size // target, -((row + 1) * size // -target)
        matrix[row, start:stop] = 1 / (stop - start)
    return matrix


def bicubic(size: int, target: int) -> Float[Tensor, "target size"]:
    """Cubic interpolation between the centres of `size` entries; the border is repeated."""
    matrix = torch.zeros(target, size, dtype=torch.float64)
    for row in range(target):
        position = (row + 0.5) * size / target - 0.5
        left = int(position // 1)
        for tap in range(left - 1, left + 3):
            matrix[row, min(max(tap, 0), size - 1)] += _cubic(abs(position - tap))
    return matrix


def _cubic(x: float) -> float:
    a = SHARPNESS
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def grid_area(
    grid: tuple[int, int], target: tuple[int, int]
) -> Float[Tensor, "target_tokens tokens"]:
    """Area downsampling of a grid of height and width."""
    return torch.kron(area(grid[0], target[0]), area(grid[1], target[1]))


def grid_bicubic(
    grid: tuple[int, int], target: tuple[int, int]
) -> Float[Tensor, "target_tokens tokens"]:
    """Bicubic upsampling of a grid of height and width."""
    return torch.kron(bicubic(grid[0], target[0]), bicubic(grid[1], target[1]))
