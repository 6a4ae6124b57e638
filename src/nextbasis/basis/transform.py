"""The basis seam: y = A x along the token axis before the backbone, x = A^-1 y after it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.config import BasisConfig


class Basis(nn.Module):
    """A square matrix A whose rows are the basis vectors (BAR, section on the unified framework).

    `weight` is A: float32, (n, n). It is a parameter if the basis is learned, else a buffer.
    """

    weight: Tensor
    start: Tensor

    def __init__(self, config: BasisConfig, weight: Float[Tensor, "n n"]) -> None:
        """Start at `weight`."""
        super().__init__()
        self.config = config
        if config.learned:
            self.weight = nn.Parameter(weight.clone())
        else:
            self.register_buffer("weight", weight.clone())
        self.register_buffer("start", weight.clone())

    @torch.no_grad()
    def set_start(self, weight: Float[Tensor, "n n"]) -> None:
        """Put A at `weight` before training."""
        self.weight.copy_(weight)
        self.start.copy_(weight)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Coefficients of the tokens in this basis: y = A x."""
        return torch.einsum("kn,bnd->bkd", self.weight, x)

    def invert(self, y: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens of the coefficients: x = A^-1 y, exactly, whether or not A is orthogonal."""
        return torch.linalg.solve(self.weight, y)

    @torch.no_grad()
    def project_(self) -> None:
        """Clamp the singular values of A: to 1 (hard) or to [1 - delta, 1 + delta] (soft)."""
        if self.config.learned:
            self.weight.copy_(project(self.weight, self.config.projection, self.config.delta))

    def regulariser(self) -> Float[Tensor, ""]:
        """The squared Frobenius norm of A^T A - I (BAR, orthogonal regularisation)."""
        return orthogonality_error(self.weight)

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Singular values, distance from the start and orthogonality error of A."""
        sigma = torch.linalg.svdvals(self.weight.double())
        return {
            "sigma_min": sigma.min().item(),
            "sigma_mean": sigma.mean().item(),
            "sigma_max": sigma.max().item(),
            "distance_from_start": (self.weight - self.start).double().norm().item(),
            "orthogonality_error": orthogonality_error(self.weight.double()).item(),
        }


def orthogonality_error(weight: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Squared Frobenius norm of A^T A - I."""
    return (weight.T @ weight - torch.eye(len(weight)).to(weight)).square().sum()


def project(weight: Float[Tensor, "n n"], projection: str, delta: float) -> Float[Tensor, "n n"]:
    """Orthogonal Procrustes projection with clamped singular values (BAR): A = U S_delta V^T."""
    if projection == "none":
        return weight
    u, sigma, vt = torch.linalg.svd(weight)
    delta = 0.0 if projection == "hard" else delta
    if sigma.min() >= 1 - delta and sigma.max() <= 1 + delta:
        return weight
    return u @ torch.diag(sigma.clamp(1 - delta, 1 + delta)) @ vt
