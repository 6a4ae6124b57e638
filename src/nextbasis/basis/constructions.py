"""Where A starts: the named matrices that a basis can be initialised with."""

import torch
from jaxtyping import Float
from torch import Tensor


def initial(
    init: str,
    size: int,
    scale: float,
    tokens: Float[Tensor, "m n d"] | None,
    generator: torch.Generator,
) -> Float[Tensor, "n n"]:
    """A at the start of training; `tokens` (in the host's order) are needed by init=klt only.

    Raises: ValueError for an unknown name.
    """
    if init == "identity":
        return torch.eye(size)
    if init == "scaled":
        return scale * torch.eye(size)
    if init == "random":
        return random_orthogonal(size, generator)
    if init == "klt":
        assert tokens is not None, "init=klt needs training tokens"
        return klt(tokens)
    raise ValueError(f"basis.init must be identity, scaled, random or klt; got '{init}'")


def random_orthogonal(size: int, generator: torch.Generator) -> Float[Tensor, "n n"]:
    """Uniform (Haar) random orthogonal matrix: QR of a Gaussian matrix, signs fixed by R."""
    q, r = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))
    return (q * r.diagonal().sign()).float()


def second_moment(tokens: Float[Tensor, "m n d"]) -> Float[Tensor, "n n"]:
    """C = E[x x^T] over samples, summed over channels; not centred, as MAR subtracts no mean."""
    x = tokens.double()
    return torch.einsum("mnd,mkd->nk", x, x) / len(x)


def klt(tokens: Float[Tensor, "m n d"]) -> Float[Tensor, "n n"]:
    """Karhunen-Loeve basis: eigenvectors of the second moment as rows, largest energy first.

    The sign of a row is free; its largest entry is made positive.
    """
    rows = torch.linalg.eigh(second_moment(tokens)).eigenvectors.T.flip(0)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return (rows * largest.sign()).float()
