"""Bases from the statistics of tokens, and random ones."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.basis.definition import Basis, one_by_one
from nextbasis.basis.frequency import orthogonal


def karhunen_loeve(height: int, width: int, *, tokens: Float[Tensor, "s n d"]) -> Basis:
    """Eigenvectors of the tokens' second moment, largest energy first (KLT, uncentred PCA).

    Raises: ValueError if there are fewer samples than tokens, or their number is not the grid's.
    """
    rows = _eigenvectors(height, width, tokens)
    return orthogonal("klt", (height, width), rows, one_by_one(len(rows)))


def titok(
    height: int, width: int, *, tokens: Float[Tensor, "s n d"], num_rows: int | None = None
) -> Basis:
    """A linear stand-in for TiTok's few latent tokens: the KLT's first rows, a quarter by default.

    TiTok itself is no matrix: its rows depend on the image.

    Raises: ValueError as of `karhunen_loeve`, or if num_rows is not below the number of tokens.
    """
    num_tokens = height * width
    kept = num_tokens // 4 if num_rows is None else num_rows
    if not 0 < kept < num_tokens:
        raise ValueError(f"num_rows must lie in [1, {num_tokens - 1}], got {kept}")
    rows = _eigenvectors(height, width, tokens)[:kept]
    return Basis(
        name="titok",
        kind="lossy",
        grid=(height, width),
        A=rows,
        S=rows.T,
        steps=one_by_one(kept),
    )


def random(
    height: int, width: int, *, seed: int = 0, generator: torch.Generator | None = None
) -> Basis:
    """A uniformly random orthogonal matrix; `generator` goes before `seed`."""
    generator = generator or torch.Generator().manual_seed(seed)
    rows = _random_orthogonal(height * width, generator)
    return orthogonal("random", (height, width), rows, one_by_one(len(rows)))


def scaled(height: int, width: int, *, scale: float | int = 0.93) -> Basis:
    """scale I: the control of what shrinking alone gives (0.93: see config/basis/scaled.yaml).

    Raises: ValueError if the scale is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    identity = torch.eye(height * width, dtype=torch.float64)
    return Basis(
        name="scaled",
        kind="near-orthogonal",
        grid=(height, width),
        A=scale * identity,
        S=identity / scale,
        steps=one_by_one(len(identity)),
    )


def with_unit_rows(basis: Basis, tokens: Float[Tensor, "s n d"]) -> Basis:
    """The basis whose gain gives every row of these tokens a root mean square of 1.

    An extension: BAR divides by nothing. Rows without energy (a millionth of the largest root mean
    square, so rounding counts as none) keep a gain of 1.
    """
    y = torch.einsum("mn,snd->smd", basis.A, tokens.double())
    scale = y.square().mean((0, 2)).sqrt()
    return dataclasses.replace(basis, gain=torch.where(scale > 1e-6 * scale.max(), scale, 1.0))


def random_orthogonal(size: int, generator: torch.Generator) -> Float[Tensor, "n n"]:
    """Uniform (Haar) random orthogonal matrix: QR of a Gaussian matrix, signs fixed by R."""
    return _random_orthogonal(size, generator).float()


def second_moment(tokens: Float[Tensor, "m n d"]) -> Float[Tensor, "n n"]:
    """C = E[x x^T] over samples, summed over channels; not centred, as MAR subtracts no mean."""
    x = tokens.double()
    return torch.einsum("mnd,mkd->nk", x, x) / len(x)


def klt(tokens: Float[Tensor, "m n d"]) -> Float[Tensor, "n n"]:
    """Karhunen-Loeve basis: eigenvectors of the second moment as rows, largest energy first.

    The sign of a row is free; its largest entry is made positive.
    """
    return _klt(tokens).float()


def principal_axes(moment: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Eigenvectors of a second moment as rows, largest energy first; signs as of `klt`."""
    rows = torch.linalg.eigh(moment).eigenvectors.T.flip(0)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return rows * largest.sign()


def _klt(tokens: Float[Tensor, "m n d"]) -> Float[Tensor, "n n"]:
    return principal_axes(second_moment(tokens))


def _random_orthogonal(size: int, generator: torch.Generator) -> Float[Tensor, "n n"]:
    q, r = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))
    return q * r.diagonal().sign()


def _eigenvectors(height: int, width: int, tokens: Float[Tensor, "s n d"]) -> Float[Tensor, "n n"]:
    if tokens.ndim != 3 or tokens.shape[1] != height * width:
        raise ValueError(
            f"tokens must be (samples, {height * width}, channels) for a grid of "
            f"{height} x {width}, got shape {tuple(tokens.shape)}"
        )
    if len(tokens) < height * width:
        raise ValueError(
            f"{len(tokens)} samples are too few for {height * width} tokens; "
            "at least as many samples as tokens are needed"
        )
    return _klt(tokens)
