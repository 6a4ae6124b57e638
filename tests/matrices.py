"""Random matrices and Gaussian fields that tests of the basis share; float64 throughout."""

import torch
from scipy.linalg import toeplitz
from scipy.stats import ortho_group
from torch import Tensor


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def rotation(n: int, seed: int = 0) -> Tensor:
    """A random orthogonal matrix."""
    return torch.from_numpy(ortho_group.rvs(n, random_state=seed))


def random_matrix(n: int, low: float, high: float, seed: int = 0) -> Tensor:
    """A matrix with singular values in [low, high], both of which it has."""
    share = torch.rand(n, generator=seeded(seed), dtype=torch.float64)
    share[0], share[-1] = 0.0, 1.0
    sigma = low + (high - low) * share
    return rotation(n, seed) @ torch.diag(sigma) @ rotation(n, seed + 1)


def covariance(side: int, across: float = 0.95, down: float = 0.90) -> Tensor:
    """Of a Gaussian field on a square grid; neighbours correlate by `across` and `down`."""
    factors = (toeplitz([rho**k for k in range(side)]) for rho in (down, across))
    return torch.kron(*(torch.from_numpy(factor) for factor in factors))


def eigenbasis(c: Tensor) -> Tensor:
    """Rows are the eigenvectors of c, largest eigenvalue first."""
    return torch.linalg.eigh(c).eigenvectors.T.flip(0)


def samples_of(c: Tensor) -> Tensor:
    """n vectors whose mean of x x^T is c exactly, so means of quadratic losses are exact."""
    return (len(c) ** 0.5 * torch.linalg.cholesky(c)).T[:, :, None]
