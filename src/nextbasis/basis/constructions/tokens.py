"""Bases that are computed from training tokens."""

from jaxtyping import Float
from torch import Tensor

from nextbasis.basis.definition import Basis, one_by_one, orthogonal
from nextbasis.basis.registry import basis
from nextbasis.basis.statistics import principal_axes, second_moment


@basis("klt", "orthogonal", method="Karhunen-Loeve (PCA) of tokens")
def karhunen_loeve(height: int, width: int, *, tokens: Float[Tensor, "s n d"]) -> Basis:
    """Eigenvectors of the tokens' second moment, largest energy first (KLT, uncentred PCA).

    Raises: ValueError if there are fewer samples than tokens, or their number is not the grid's.
    """
    rows = _eigenvectors(height, width, tokens)
    return orthogonal((height, width), rows, one_by_one(len(rows)))


@basis("titok", "lossy", method="TiTok, linear stand-in: first KLT rows")
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
        kind="lossy",
        grid=(height, width),
        A=rows,
        S=rows.T,
        steps=one_by_one(kept),
    )


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
    return principal_axes(second_moment(tokens))
