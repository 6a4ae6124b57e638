"""What a basis does to the tokens, in numbers: energy, predictability, nearness to the KLT.

All from the tokens' second moment C = E[x x^T], not centred and pooled over channels, as A is the
same for all of them; y = A x has the second moment A C A^T. Everything is float64. The quantities
are those by which docs/basis.md tells what an objective drives A to.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.basis.statistics import principal_axes

DETERMINED = 1e-10  # share of a coefficient's energy below which what is left of it is rounding
RANK = 1e-10  # singular value, relative to the largest, below which rows are dependent


def coefficient_moment(
    a: Float[Tensor, "m n"], moment: Float[Tensor, "n n"]
) -> Float[Tensor, "m m"]:
    """A C A^T: the second moment of y = A x."""
    return a.double() @ moment.double() @ a.double().T


def energy_shares(moment: Float[Tensor, "m m"]) -> Float[Tensor, " m"]:
    """Each coefficient's share of the sum of all mean squares, which need not be that of x."""
    energy = moment.diagonal()
    return energy / energy.sum()


def mean_energy_index(shares: Float[Tensor, " m"]) -> float:
    """Where the energy sits on average, counting from 0; (m - 1) / 2 if it is spread evenly."""
    positions = torch.arange(len(shares), dtype=shares.dtype)
    return (positions @ shares).item()


def conditional_variance(moment: Float[Tensor, "m m"]) -> Float[Tensor, " m"]:
    """s_l: what the best linear prediction of y_l from y_1 to y_(l-1) leaves of its mean square.

    The squared diagonal of the Cholesky factor, by elimination, so that singular moments (more
    rows than tokens) work too: a row of which less than 1e-10 is left is determined by those
    before it, has s_l = 0 and is no further used for prediction.
    """
    rest, left = moment.clone(), torch.zeros_like(moment.diagonal())
    for row, energy in enumerate(moment.diagonal().tolist()):
        pivot = rest[row, row].item()
        if pivot > DETERMINED * energy:
            left[row] = pivot
            rest -= torch.outer(rest[:, row], rest[row]) / pivot
    return left


def prefix_lengths(num_rows: int) -> list[int]:
    """1, 2, 4, … and, last, the number of rows."""
    lengths = [2**power for power in range(num_rows.bit_length()) if 2**power < num_rows]
    return [*lengths, num_rows]


def klt_overlap(
    a: Float[Tensor, "m n"], moment: Float[Tensor, "n n"], lengths: Sequence[int]
) -> Float[Tensor, " k"]:
    """For each length, how much of the first KLT rows the span of as many rows of A holds.

    The mean squared cosine of the angles between the two subspaces: 1 if they are the same, about
    length / n for a random A. Dependent rows span less, which the value shows.
    """
    axes = principal_axes(moment.double())
    values = []
    for length in lengths:
        _, sigma, rows = torch.linalg.svd(a[:length].double(), full_matrices=False)
        spanned = rows[sigma > RANK * sigma[0]]
        values.append((spanned @ axes[:length].T).square().sum() / length)
    return torch.stack(values)


def participation_ratio(a: Float[Tensor, "m n"]) -> Float[Tensor, " m"]:
    """How many tokens each row mixes: 1 for a single one, n for all alike, 0 for a row of zeros."""
    squares = a.double().square()
    fourth = squares.square().sum(1)
    return squares.sum(1).square() / torch.where(fourth > 0, fourth, 1.0)
