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
    """An upper bound of the spectral norm of a symmetric E: the least of three norms above it.

    |E|_2 is at most the largest absolute row sum and at most |E^2|_F^(1/2), which is at most |E|_F.
    """
    rows = error.abs().sum(-1).max()
    frobenius = (error @ error).square().sum((-2, -1)).max().sqrt().sqrt()
    return torch.minimum(rows, frobenius)


def certified(factor: Float[Tensor, "k s s"], low: float, high: float) -> bool:
    """Whether every singular value provably lies in [low, high], without computing one.

    sigma^2 - 1 lies within |E|_2 of zero, so a bound of it below 1 - low^2 and high^2 - 1 proves
    both ends. |E|_F is asked first, because it needs no product. False means unknown.
    """
    limit = min(1 - low**2, high**2 - 1) + TOLERANCE
    error = gram_error(factor)
    if error.square().sum((-2, -1)).max().sqrt() <= limit:
        return True
    return bool(largest_error(error) <= limit)


def clamp(factor: Float[Tensor, "k s s"], low: float, high: float) -> Float[Tensor, "k s s"]:
    """U clamp(sigma, low, high) V^T: the nearest matrix with such singular values (BAR)."""
    u, sigma, vt = torch.linalg.svd(factor)
    return (u * sigma.clamp(low, high)[:, None, :]) @ vt
