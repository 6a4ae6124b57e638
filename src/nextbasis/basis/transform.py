"""The basis seam: y = A x along the token axis before the backbone, x from y after it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.basis.projection import certified, clamp, orthogonality_error
from nextbasis.basis.statistics import random_orthogonal
from nextbasis.basis.structure import Blocks, Dense, Householder, Kronecker, Structure
from nextbasis.config import BasisConfig

CONDITION_LIMIT = 1e6  # beyond it float32 coefficients no longer determine the tokens


class BasisTransform(nn.Module):
    """A, fixed or learned, in the host's order of the tokens (BAR, section on the framework).

    A is m x n and float32; a learned A is square and inverted exactly, a fixed one comes with its
    decoder S. `step_of` numbers the group of rows that each row is predicted with.
    """

    structure: Structure
    start: Tensor
    decoder: Tensor
    step_of: Tensor
    num_steps: Tensor
    num_projected: Tensor

    def __init__(
        self, config: BasisConfig, layout: tuple[int, int], num_rows: int = 0, seed: int = 0
    ) -> None:
        """A at the identity, or where the structure starts at random; see `set_start`.

        `layout` is the host's (p, q) view of its n = p q tokens; `num_rows` counts those of an A
        that is not square; `seed` is that of a structure's random start.

        Raises: ValueError if a structured A is to start elsewhere or is not square.
        """
        super().__init__()
        self.config, self.num_tokens = config, layout[0] * layout[1]
        self.num_rows = num_rows or self.num_tokens
        self.structure = self._build(layout, torch.Generator().manual_seed(seed))
        self.structure.requires_grad_(config.learned)
        self.register_buffer("start", self.structure.matrix().detach().clone())
        decoder = torch.zeros(0, 0) if config.learned else self.start.T.contiguous()
        self.register_buffer("decoder", decoder)
        self.register_buffer("step_of", torch.arange(self.num_rows))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("num_projected", torch.zeros((), dtype=torch.long))

    def _build(self, layout: tuple[int, int], generator: torch.Generator) -> Structure:
        config, n = self.config, self.num_tokens
        if config.structure == "dense":
            return Dense(torch.eye(self.num_rows, n))
        if self.num_rows != n or config.init not in ("identity", "random"):
            raise ValueError(
                f"basis.structure={config.structure} starts at basis.init=identity or random, "
                f"got '{config.init}'"
            )
        is_random = config.init == "random"
        if config.structure == "householder":
            return Householder(n, config.reflections, generator if is_random else None)

        def square(size: int) -> Tensor:
            return random_orthogonal(size, generator).float() if is_random else torch.eye(size)

        if config.structure == "kronecker":
            return Kronecker(layout, square)
        return Blocks(layout, square)

    @torch.no_grad()
    def set_start(
        self,
        weight: Float[Tensor, "m n"],
        decoder: Float[Tensor, "n m"],
        step_of: Int[Tensor, " m"],
    ) -> None:
        """Put a dense A and its decoder at their values before training."""
        assert isinstance(self.structure, Dense)
        self.structure.weight.copy_(weight)
        self.start.copy_(weight)
        self.step_of.copy_(step_of)
        if not self.config.learned:
            self.decoder.copy_(decoder)

    def matrix(self) -> Float[Tensor, "m n"]:
        """A."""
        return self.structure.matrix()

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b m d"]:
        """Coefficients of the tokens in this basis: y = A x."""
        return self.structure(x)

    def invert(self, y: Float[Tensor, "b m d"]) -> Float[Tensor, "b n d"]:
        """Tokens of the coefficients: x = S y, where S is A^-1 if A is square.

        Raises: ValueError if A is singular or too ill-conditioned to be inverted.
        """
        return torch.einsum("nm,bmd->bnd", self.decode_matrix(), y)

    @torch.no_grad()
    def decode_matrix(self) -> Float[Tensor, "n m"]:
        """S: the decoder of a fixed basis, the exact inverse of a learned A."""
        return inverse(self.matrix()) if self.config.learned else self.decoder

    @torch.no_grad()
    def project_(self) -> None:
        """Clamp the singular values of A: to 1 (hard) or to [1 - delta, 1 + delta] (soft).

        A changes only where the certificate does not hold: in `num_projected` of `num_steps`
        calls. A CPU computes nothing more where it holds; a GPU does, since the host would have
        to wait for its answer.
        """
        config = self.config
        if not config.learned or config.projection == "none":
            return
        delta = 0.0 if config.projection == "hard" else config.delta
        factors = self.structure.factors()
        share = 1 / max(1, len(factors))  # singular values of factors multiply
        low, high = (1 - delta) ** share, (1 + delta) ** share
        outside = torch.zeros_like(self.num_projected, dtype=torch.bool)
        for factor in factors:
            inside = certified(factor, low, high)
            if factor.device.type == "cpu" and inside:
                continue
            factor.copy_(torch.where(inside, factor, clamp(factor, low, high)))
            outside |= ~inside
        self.num_steps += 1
        self.num_projected += outside

    @torch.no_grad()
    def tangent_(self) -> None:
        """Keep of a hard-projected A's gradient what projection does not undo: (G - A G^T A) / 2.

        That is its part along the orthogonal matrices. Adam would scale the entries of the other
        part up, projection would take them back, and A would stall before an optimum.
        """
        if self.config.projection != "hard" or not self.structure.factors():
            return
        for factor in self.structure.parameters():
            if factor.grad is not None:
                factor.grad.sub_(factor @ factor.grad.mT @ factor).div_(2)

    def regulariser(self) -> Float[Tensor, ""]:
        """The squared Frobenius norm of A^T A - I, or of its factors (BAR, regularisation)."""
        errors = [orthogonality_error(factor) for factor in self.structure.factors()]
        return torch.stack(errors).sum() if errors else self.start.new_zeros(())

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Singular values, distance from the start and orthogonality error of A."""
        a = self.matrix()
        sigma = torch.linalg.svdvals(a.double())
        return {
            "sigma_min": sigma.min().item(),
            "sigma_mean": sigma.mean().item(),
            "sigma_max": sigma.max().item(),
            "distance_from_start": (a - self.start).double().norm().item(),
            "orthogonality_error": orthogonality_error(a.double()[None]).item(),
            "projected_share": (self.num_projected / self.num_steps.clamp(min=1)).item(),
        }


def inverse(weight: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """A^-1, computed in float64.

    Raises: ValueError if A is singular or its condition number in the 1-norm exceeds 10^6.
    """
    a = weight.double()
    try:
        inverted = torch.linalg.inv(a)
    except torch.linalg.LinAlgError as error:
        raise ValueError(f"A is singular: {SINGULAR_ADVICE}") from error
    condition = (torch.linalg.matrix_norm(a, 1) * torch.linalg.matrix_norm(inverted, 1)).item()
    if not condition <= CONDITION_LIMIT:
        raise ValueError(f"A is ill-conditioned ({condition:.1e}): {SINGULAR_ADVICE}")
    return inverted.to(weight.dtype)


SINGULAR_ADVICE = (
    "images cannot be decoded from it; train with basis.projection=soft or hard, or a larger "
    "basis.regulariser"
)
