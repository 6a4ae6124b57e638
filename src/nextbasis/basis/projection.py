"""Keeping A near orthogonal: BAR's Procrustes projection, and a certificate that it is not needed.

k matrices of s x s; E = F^T F - I is zero for an orthogonal F.
"""

import math
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nextbasis.support.arithmetic import root

TOLERANCE = 1e-5  # float32 rounding of F^T F
SMALLEST = 1e-5  # singular value, as a share of the norm, that the iteration carries to 1
EPSILON = 1e-15  # how close to 1


def gram_error(factor: Float[Tensor, "k s s"]) -> Float[Tensor, "k s s"]:
    """E = F^T F - I, whose eigenvalues are sigma^2 - 1."""
    return factor.mT @ factor - torch.eye(
        factor.shape[-1], dtype=factor.dtype, device=factor.device
    )


def _identity(like: Tensor) -> Float[Tensor, "s s"]:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def orthogonality_error(factor: Float[Tensor, "k s s"]) -> Float[Tensor, ""]:
    """Squared Frobenius norm of A^T A - I, summed over the factors (BAR's regularisation)."""
    return gram_error(factor).square().sum()


def largest_error(error: Float[Tensor, "k s s"]) -> Float[Tensor, ""]:
    """An upper bound of the spectral norm of a symmetric E: the lesser of two norms above it.

    They are the largest absolute row sum and the Frobenius norm.
    """
    rows = error.abs().sum(-1).max()
    frobenius = root(error.square().sum((-2, -1)).max())
    return torch.minimum(rows, frobenius)


def certified(factor: Float[Tensor, "k s s"], low: float, high: float) -> Bool[Tensor, ""]:
    """Whether every singular value lies in [low, high], to rounding, without computing one.

    sigma^2 - 1 are the eigenvalues of E, so a bound of |E|_2 below 1 - low^2 and high^2 - 1 proves
    both ends. Where it does not, E - (low^2 - 1) I and (high^2 - 1) I - E decide: they have a
    Cholesky factor if and only if they are positive definite.
    """
    below, above = low**2 - 1 - TOLERANCE, high**2 - 1 + TOLERANCE
    error = gram_error(factor)
    shift = _identity(error)
    inside = _is_positive(torch.cat((error - below * shift, above * shift - error)))
    return (largest_error(error) <= min(-below, above)) | inside


def _is_positive(matrix: Float[Tensor, "k s s"]) -> Bool[Tensor, ""]:
    """Whether symmetric matrices are all positive definite; False if they are not finite."""
    _, failed = torch.linalg.cholesky_ex(matrix)
    return ~failed.any()


def clamp(factor: Float[Tensor, "k s s"], low: float, high: float) -> Float[Tensor, "k s s"]:
    """U clamp(sigma, low, high) V^T: the nearest matrix with such singular values (BAR).

    Of products and triangular systems in float64 alone, which a GPU computes without waiting for
    the host as a singular value decomposition does: with A = Q H, where Q is orthogonal and H is
    symmetric, it is Q (low + high + |H - low| - |H - high|) / 2, and |M| is M times its own Q.
    """
    a = factor.double()
    q = orthogonal_factor(a)
    if low == high:
        return (low * q).to(factor.dtype)
    h = q.mT @ a
    eye = _identity(a)
    ends = torch.stack(((h + h.mT) / 2 - low * eye, (h + h.mT) / 2 - high * eye))
    above_low, above_high = ends @ orthogonal_factor(ends)
    return (q @ ((low + high) * eye + above_low - above_high) / 2).to(factor.dtype)


def orthogonal_factor(a: Float[Tensor, "*k s s"]) -> Float[Tensor, "*k s s"]:
    """Q = U V^T of A = U diag(sigma) V^T, in float64, to rounding where sigma > SMALLEST |A|.

    By Halley's iteration with weights that depend on the step alone (Nakatsukasa, Bai and Gygi
    2010, "Optimizing Halley's iteration for computing the matrix polar decomposition"). Smaller
    singular values end between 0 and 1.
    """
    norms = root(a.abs().sum(-1).amax(-1) * a.abs().sum(-2).amax(-1))  # at least |A|_2
    x = a / norms[..., None, None].clamp(min=torch.finfo(a.dtype).tiny)
    eye = _identity(a)
    for gain, curve, pull in halley_weights():
        factor = torch.linalg.cholesky_ex(eye + pull * x.mT @ x).L
        solved = torch.cholesky_solve(x.mT, factor).mT
        x = curve / pull * x + (gain - curve / pull) * solved
    return x


@cache
def halley_weights() -> list[tuple[float, float, float]]:
    """a, b and c of every step x (a + b x^2) / (1 + c x^2), until SMALLEST has become 1."""
    found, smallest = [], SMALLEST
    while 1 - smallest > EPSILON:
        square = smallest**2
        d = (4 * (1 - square) / square**2) ** (1 / 3)
        a = math.sqrt(1 + d) + 0.5 * math.sqrt(
            8 - 4 * d + 8 * (2 - square) / (square * math.sqrt(1 + d))
        )
        b = (a - 1) ** 2 / 4
        c = a + b - 1
        found.append((a, b, c))
        smallest = min(1.0, smallest * (a + b * square) / (1 + c * square))
    return found
