"""Statistics of tokens, the bases that follow from them, and random rotations."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.basis.definition import Basis
from nextbasis.support.arithmetic import root


def with_unit_rows(basis: Basis, tokens: Float[Tensor, "s n d"]) -> Basis:
    """The basis whose gain gives every row of these tokens a root mean square of 1.

    An extension: BAR divides by nothing. Rows without energy (a millionth of the largest root mean
    square, so rounding counts as none) keep a gain of 1.
    """
    y = torch.einsum("mn,snd->smd", basis.A, tokens.double())
    scale = root(y.square().mean((0, 2)))
    return dataclasses.replace(basis, gain=torch.where(scale > 1e-6 * scale.max(), scale, 1.0))


def second_moment(tokens: Float[Tensor, "m n d"]) -> Float[Tensor, "n n"]:
    """C = E[x x^T] over samples, summed over channels; not centred, as MAR subtracts no mean."""
    x = tokens.double()
    return torch.einsum("mnd,mkd->nk", x, x) / len(x)


def klt(tokens: Float[Tensor, "m n d"]) -> Float[Tensor, "n n"]:
    """Karhunen-Loeve basis: eigenvectors of the second moment as rows, largest energy first.

    The sign of a row is free; its largest entry is made positive.
    """
    return principal_axes(second_moment(tokens)).float()


def principal_axes(moment: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Eigenvectors of a second moment as rows, largest energy first; signs as of `klt`."""
    rows = torch.linalg.eigh(moment).eigenvectors.T.flip(0)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return rows * largest.sign()


def random_orthogonal(size: int, generator: torch.Generator) -> Float[Tensor, "n n"]:
    """Uniform (Haar) random orthogonal matrix: QR of a Gaussian matrix, signs fixed by R."""
    q, r = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))
    return q * r.diagonal().sign()
