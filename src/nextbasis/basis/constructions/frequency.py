"""Fixed orthogonal transforms of the grid, coarse to fine: cosines, Haar, Walsh-Hadamard."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.basis.definition import Basis, groups, one_by_one, orthogonal
from nextbasis.basis.registry import basis


@basis("dct", "orthogonal", method="DCT-II, zigzag")
def dct(height: int, width: int) -> Basis:
    """Two-dimensional DCT-II in JPEG's zigzag order, one row at a time."""
    rows = torch.kron(cosines(height), cosines(width))[zigzag(height, width)]
    return orthogonal((height, width), rows, one_by_one(len(rows)))


@basis("far_dct", "orthogonal", method="FAR, invertible: DCT by max(u, v)")
def far_dct(height: int, width: int) -> Basis:
    """The invertible FAR: the DCT with rows of the same max(u, v) together, from low to high.

    Inside a step the frequencies are in raster order of (u, v).
    """
    frequency = torch.arange(height * width)
    band = torch.maximum(frequency // width, frequency % width)
    order = band.argsort(stable=True)
    rows = torch.kron(cosines(height), cosines(width))[order]
    return orthogonal((height, width), rows, groups(band.bincount().tolist()))


@basis("walsh", "orthogonal", method="Walsh-Hadamard by sequency, zigzag")
def walsh(height: int, width: int) -> Basis:
    """Walsh-Hadamard functions by sequency (sign changes) along both axes, in zigzag order.

    Raises: ValueError if a side is no power of two.
    """
    _check_powers(height, width)
    rows = torch.kron(walsh_functions(height), walsh_functions(width))[zigzag(height, width)]
    return orthogonal((height, width), rows, one_by_one(len(rows)))


@basis("haar", "orthogonal", method="Haar wavelets, coarse to fine")
def haar(height: int, width: int) -> Basis:
    """Mallat's two-dimensional Haar wavelets: the mean, then each level's details together.

    The details of a level are the bands across, down and diagonal, each in raster order. A longer
    side is split alone once the shorter one is down to a token.

    Raises: ValueError if a side is no power of two.
    """
    _check_powers(height, width)
    grid = (height, width)
    blocks: list[Tensor] = []
    smooth = torch.eye(height * width, dtype=torch.float64)
    while height * width > 1:
        bands = [torch.kron(down, across) for down in _halves(height) for across in _halves(width)]
        blocks.insert(0, torch.cat(bands[1:]) @ smooth)
        smooth = bands[0] @ smooth
        height, width = max(1, height // 2), max(1, width // 2)
    blocks.insert(0, smooth)
    return orthogonal(grid, torch.cat(blocks), groups(map(len, blocks)))


def cosines(size: int) -> Float[Tensor, "n n"]:
    """The orthonormal DCT-II of one axis, frequencies as rows."""
    index = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * index[:, None] * (index[None, :] + 0.5))
    rows[0] /= math.sqrt(2)
    return rows * math.sqrt(2 / size)


def walsh_functions(size: int) -> Float[Tensor, "n n"]:
    """The orthonormal Hadamard matrix of one axis (a power of two), rows by sign changes."""
    rows = torch.ones(1, 1, dtype=torch.float64)
    while len(rows) < size:
        rows = torch.cat((torch.cat((rows, rows), 1), torch.cat((rows, -rows), 1)))
    changes = (rows[:, 1:] != rows[:, :-1]).sum(1)
    return rows[changes.argsort()] / math.sqrt(size)


def zigzag(height: int, width: int) -> Int[Tensor, " n"]:
    """Raster indices along the antidiagonals, turning at the border; (0, 1) before (1, 0)."""
    places = [(row, column) for row in range(height) for column in range(width)]
    places.sort(key=lambda place: (sum(place), place[sum(place) % 2 == 0]))
    return torch.tensor([row * width + column for row, column in places])


def _halves(size: int) -> list[Float[Tensor, "half size"]]:
    """Scaled sums and differences of neighbours; a single token has no differences."""
    single = torch.eye(max(1, size // 2), dtype=torch.float64)
    if size == 1:
        return [single]
    pairs = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]], dtype=torch.float64) / math.sqrt(2)
    return [torch.kron(single, pair) for pair in pairs]


def _check_powers(height: int, width: int) -> None:
    if height & (height - 1) or width & (width - 1):
        raise ValueError(f"needs sides that are powers of two, got {height} x {width} tokens")
