"""What must hold of a basis, by kind; `Basis` checks it whenever one is made.

A is (rows, tokens) and S its left inverse or decoder; every function raises ValueError.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

TOLERANCE = 1e-5
CONDITION = 100.0  # of a near-orthogonal A: beyond it, float32 loses two digits


def check_shapes(grid: tuple[int, int], a: Tensor, s: Tensor) -> None:
    """A's rows fit the grid, S has A's shape transposed, both hold finite float64."""
    height, width = grid
    if a.ndim != 2 or not len(a):
        raise ValueError(f"A must be a matrix with rows, got shape {tuple(a.shape)}")
    if height < 1 or width < 1 or a.shape[1] != height * width:
        raise ValueError(
            f"rows of {a.shape[1]} entries do not fit the grid of {height} x {width} tokens"
        )
    if tuple(s.shape) != tuple(a.shape)[::-1]:
        raise ValueError(f"S must be {a.shape[1]} x {len(a)}, got shape {tuple(s.shape)}")
    for name, matrix in (("A", a), ("S", s)):
        if matrix.dtype != torch.float64 or not matrix.isfinite().all():
            raise ValueError(f"{name} must hold finite numbers of float64, got {matrix.dtype}")


def check_steps(steps: tuple[range, ...], num_rows: int) -> None:
    """Steps are consecutive ranges of rows, from the first row to the last."""
    end = 0
    for step in steps:
        if step.start != end or step.stop <= end or step.step != 1:
            break
        end = step.stop
    else:
        if end == num_rows:
            return
    raise ValueError(
        f"steps that do not partition the rows: consecutive ranges from 0 to {num_rows} are "
        f"needed, and they hold up to row {end}"
    )


def check_gain(gain: Tensor, num_rows: int) -> None:
    """One positive float64 number a row."""
    if tuple(gain.shape) != (num_rows,) or gain.dtype != torch.float64:
        raise ValueError(
            f"gain must hold one number of float64 for each of {num_rows} rows, "
            f"got shape {tuple(gain.shape)} of {gain.dtype}"
        )
    if not ((gain > 0) & gain.isfinite()).all():
        raise ValueError(f"gain must be positive and finite, its smallest is {gain.min().item()}")


def check_permutation(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"]) -> None:
    """Zeros and a single 1 in every row and column; S = A^T, exactly."""
    _check_square(a)
    ones = a == 1
    single = (ones.sum(0) == 1).all() and (ones.sum(1) == 1).all()
    if not single or not (ones | (a == 0)).all():
        raise ValueError("a permutation has a single 1 in every row and column, else zeros")
    _check_transposed(a, s, 0.0)


def check_orthogonal(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"]) -> None:
    """Square, A A^T = I, S = A^T."""
    _check_square(a)
    _check_orthonormal(a, s)


def check_near_orthogonal(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"]) -> None:
    """Square, S A = I, and a bounded condition number."""
    _check_square(a)
    check_frame(a, s)
    sigma = torch.linalg.svdvals(a)
    if (condition := (sigma[0] / sigma[-1]).item()) > CONDITION:
        raise ValueError(f"the condition number must be at most {CONDITION:g}, got {condition:.3g}")


def check_frame(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"]) -> None:
    """S A = I."""
    if (error := distance_from_identity(s @ a)) > TOLERANCE:
        raise ValueError(f"S A must be I, it is off by {error:.1e}")


def check_lossy(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"]) -> None:
    """Fewer rows than tokens, A A^T = I, S = A^T."""
    if len(a) >= a.shape[1]:
        raise ValueError(f"needs fewer rows than tokens, got {len(a)} rows, {a.shape[1]} tokens")
    _check_orthonormal(a, s)


def check_distribution(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"], ratio: float) -> None:
    """A is the mean of the permutations and S that of their inverses."""
    _check_square(a)
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must lie in [0, 1], got {ratio}")
    if (error := (a - mean_permutation(len(a), ratio)).abs().max().item()) > TOLERANCE:
        raise ValueError(f"A must be the mean of its permutations, it is off by {error:.1e}")
    _check_transposed(a, s, TOLERANCE)


CHECKS: dict[str, Callable[[Tensor, Tensor], None]] = {
    "permutation": check_permutation,
    "orthogonal": check_orthogonal,
    "near-orthogonal": check_near_orthogonal,
    "frame": check_frame,
    "lossy": check_lossy,
}
KINDS = (*CHECKS, "distribution")


def check_kind(kind: str, a: Float[Tensor, "m n"], s: Float[Tensor, "n m"], ratio: float) -> None:
    """What the kind promises; only a distribution has a ratio.

    Raises: ValueError also for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got '{kind}'")
    try:
        if kind == "distribution":
            check_distribution(a, s, ratio)
        else:
            CHECKS[kind](a, s)
    except ValueError as error:
        raise ValueError(f"kind {kind}: {error}") from None


def distance_from_identity(matrix: Float[Tensor, "n n"]) -> float:
    """Largest absolute entry of the matrix minus the identity."""
    return (matrix - torch.eye(len(matrix), dtype=matrix.dtype)).abs().max().item()


def mean_permutation(size: int, ratio: float) -> Float[Tensor, "n n"]:
    """(1 - r) I + r 1 1^T / N: uniformly random with probability r, else the identity."""
    uniform = torch.full((size, size), 1 / size, dtype=torch.float64)
    return (1 - ratio) * torch.eye(size, dtype=torch.float64) + ratio * uniform


def _check_square(a: Float[Tensor, "m n"]) -> None:
    if len(a) != a.shape[1]:
        raise ValueError(f"needs as many rows as tokens, got {len(a)} rows, {a.shape[1]} tokens")


def _check_orthonormal(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"]) -> None:
    if (error := distance_from_identity(a @ a.T)) > TOLERANCE:
        raise ValueError(f"A A^T must be I, it is off by {error:.1e}")
    _check_transposed(a, s, TOLERANCE)


def _check_transposed(a: Float[Tensor, "m n"], s: Float[Tensor, "n m"], tolerance: float) -> None:
    if (error := (s - a.T).abs().max().item()) > tolerance:
        raise ValueError(f"S must be A^T, it is off by {error:.1e}")
