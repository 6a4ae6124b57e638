"""Keeping A near orthogonal: BAR's Procrustes projection, and a certificate that it is not needed.

k matrices of s x s; E = F^T F - I is zero for an orthogonal F.
"""

import torch
from jaxtyping import Float
from torch import Tensor

TOLERANCE = 1e-5  # float32 rounding of F^T F


def gram_error(factor: Float[Tensor, "k s s"]) -> Float[Tensor, "k s s"]:
    """E = F^T F - I, whose eigenvalues are sigma^2 - 1."""
    return factor.mT @ factor - torch.eye(factor.shape[-1]).to(factor)


def orthogonality_error(factor: Float[Tensor, "k s s"]) -> Float[Tensor, ""]:
    """Squared Frobenius norm of A^T A - I, summed over the factors (BAR's regularisation)."""
    return gram_error(factor).square().sum()


def largest_error(error: Float[Tensor, "k s s"]) -> Float[Tensor, ""]:
    """An upper bound of the spectral norm of a symmetric E: the lesser of two norms above it.

    They are the largest absolute row sum and the Frobenius norm.
    """
    rows = error.abs().sum(-1).max()
    frobenius = error.square().sum((-2, -1)).max().sqrt()
    return torch.minimum(rows, frobenius)


def certified(factor: Float[Tensor, "k s s"], low: float, high: float) -> bool:
    """Whether every singular value lies in [low, high], to rounding, without computing one.

    sigma^2 - 1 are the eigenvalues of E, so a bound of |E|_2 below 1 - low^2 and high^2 - 1 proves
    both ends. Where it does not, E - (low^2 - 1) I and (high^2 - 1) I - E decide: they have a
    Cholesky factor if and only if they are positive definite.
    """
    below, above = low**2 - 1 - TOLERANCE, high**2 - 1 + TOLERANCE
    error = gram_error(factor)
    if largest_error(error) <= min(-below, above):
        return True
    shift = torch.eye(error.shape[-1]).to(error)
    return _is_positive(error - below * shift) and _is_positive(above * shift - error)


def _is_positive(matrix: Float[Tensor, "k s s"]) -> bool:
    """Whether symmetric matrices are all positive definite; False if they are not finite."""
    _, failed = torch.linalg.cholesky_ex(matrix)
    return not failed.any()


def clamp(factor: Float[Tensor, "k s s"], low: float, high: float) -> Float[Tensor, "k s s"]:
    """U clamp(sigma, low, high) V^T: the nearest matrix with such singular values (BAR)."""
    u, sigma, vt = torch.linalg.svd(factor)
    return (u * sigma.clamp(low, high)[:, None, :]) @ vt
