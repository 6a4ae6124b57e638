"""The table of `nextbasis bases`: what every named basis is on a grid, in numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from tabulate import tabulate
from torch import Tensor

from nextbasis.basis.definition import Basis
from nextbasis.basis.registry import find, make, names

CORRELATION = 0.95  # of neighbours in the synthetic field
SAMPLES = 4_096  # of it, or twice the tokens if these are more
HEADER = (
    "name",
    "method",
    "shape",
    "rank",
    "kind",
    "condition",
    "max|SA-I|",
    "noise gain",
    "steps",
)
NOTES = """\
condition: largest over smallest singular value of A. noise gain: tr(S S^T) / tokens.
klt and titok: of {samples} samples (seed 0) of a synthetic field, one channel, Gaussian, AR({rho})
along both sides. rar: numbers of one permutation drawn at ratio 1; A itself is its mean."""


def listing(wanted: Sequence[str], height: int, width: int) -> str:
    """A line for each basis named or brought (all named ones if none is), and how to read them.

    A basis that the grid cannot have shows the reason instead of numbers.

    Raises: ValueError for an unknown name, or a grid without tokens.
    """
    chosen = [find(name) for name in dict.fromkeys(wanted or names())]
    if height < 1 or width < 1:
        raise ValueError(f"a grid has sides of at least 1, got {height} x {width}")
    tokens = field(height, width)
    lines, reasons = [], []
    for basis in chosen:
        options = {"tokens": tokens} if "tokens" in basis.options else {}
        try:
            made = make(basis.name, height, width, **options)
            lines.append((basis.name, basis.method, *_numbers(made)))
        except ValueError as reason:
            lines.append((basis.name, basis.method, *["-"] * (len(HEADER) - 2)))
            reasons.append(str(reason))
    table = tabulate(lines, HEADER, "simple", disable_numparse=True)
    notes = NOTES.format(samples=len(tokens), rho=CORRELATION)
    return "\n".join([table, "", *reasons, f"{height} x {width} tokens. {notes}"])


def field(height: int, width: int) -> Float[Tensor, "s n 1"]:
    """Samples of a Gaussian field of unit variance whose correlation is CORRELATION^distance.

    The distance is the city-block one, so the covariance is a Kronecker product of the sides'.
    """
    factors = [torch.linalg.cholesky(_correlations(side)) for side in (height, width)]
    generator = torch.Generator().manual_seed(0)
    shape = (max(SAMPLES, 2 * height * width), height * width)
    white = torch.randn(shape, dtype=torch.float64, generator=generator)
    return (white @ torch.kron(*factors).T)[:, :, None]


def _correlations(side: int) -> Float[Tensor, "n n"]:
    index = torch.arange(side, dtype=torch.float64)
    return CORRELATION ** (index[:, None] - index[None, :]).abs()


def _numbers(basis: Basis) -> tuple[str, ...]:
    drawn = basis.draw(torch.Generator().manual_seed(0))
    rows, tokens = basis.A.shape
    return (
        f"{rows} x {tokens}",
        str(drawn.rank),
        basis.kind,
        f"{drawn.condition:.3f}",
        f"{drawn.inverse_error:.1e}",
        f"{drawn.noise_gain:.3f}",
        str(len(basis.steps)),
    )
