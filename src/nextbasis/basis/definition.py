"""A basis as data: the rows of y = A x, the way back, and which rows are predicted together.

BAR, section on the unified framework: every autoregressive method is a choice of A. Rows act on
the tokens of a height x width grid in raster order, with the same A for every channel.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.basis import invariants
from nextbasis.basis.orders import annealed_orders


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """The named basis of one grid; its kind says which invariants were checked, to 1e-5.

    | kind | what holds |
    |---|---|
    | permutation | A is square, of zeros and ones, one in each row and column; S = A^T, exactly |
    | orthogonal | A is square, A A^T = I; S = A^T |
    | near-orthogonal | A is square, S A = I; condition number at most 100 |
    | frame | S A = I, with as many rows as tokens or more |
    | lossy | fewer rows than tokens, A A^T = I; S = A^T, which gives the nearest tokens |
    | distribution | A is the mean of random permutations, S of their inverses; see `draw` |

    Raises: ValueError, naming the basis, if an invariant does not hold.
    """

    name: str = ""  # `make` gives it the one that it is found by
    kind: str
    grid: tuple[int, int]  # height and width in tokens
    A: Tensor  # float64 (m, n); rows are the basis vectors
    S: Tensor  # float64 (n, m); left inverse of A, or decoder if there is none
    steps: tuple[range, ...]  # consecutive rows predicted together, in order of prediction
    # float64 (m,); divides each row, to give all one scale: an extension, not BAR's. Default: ones.
    gain: Tensor = field(default_factory=lambda: torch.ones(0, dtype=torch.float64))
    ratio: float = 0.0  # of a distribution: the probability that an order is random
    has_order: bool = True  # if not, the rows are tokens in whatever order the host has

    def __post_init__(self) -> None:
        """Check everything that the kind promises."""
        try:
            invariants.check_shapes(self.grid, self.A, self.S)
            if not self.gain.numel():
                object.__setattr__(self, "gain", torch.ones(len(self.A), dtype=torch.float64))
            invariants.check_gain(self.gain, len(self.A))
            invariants.check_steps(self.steps, len(self.A))
            invariants.check_kind(self.kind, self.A, self.S, self.ratio)
        except ValueError as error:
            prefix = f"basis '{self.name}': " if self.name else ""
            raise ValueError(prefix + str(error)) from None

    @property
    def num_rows(self) -> int:
        """Rows of A: what a generator predicts of each image."""
        return len(self.A)

    @property
    def num_tokens(self) -> int:
        """Tokens of the grid."""
        return self.A.shape[1]

    @property
    def step_of(self) -> Int[Tensor, " m"]:
        """The number of the step that each row is predicted in."""
        lengths = torch.tensor([len(step) for step in self.steps])
        return torch.arange(len(self.steps)).repeat_interleave(lengths)

    @cached_property
    def singular_values(self) -> Float[Tensor, " k"]:
        """Singular values of A, the largest first; k is the smaller of rows and tokens."""
        return torch.linalg.svdvals(self.A)

    @property
    def rank(self) -> int:
        """Singular values above rounding."""
        return int((self.singular_values > 1e-10 * self.singular_values[0]).sum())

    @property
    def condition(self) -> float:
        """Largest over smallest singular value; infinite if A is rank deficient."""
        if self.rank < len(self.singular_values):
            return float("inf")
        return (self.singular_values[0] / self.singular_values[-1]).item()

    @property
    def noise_gain(self) -> float:
        """tr(S S^T) / N: the variance that unit noise on every row becomes, a token."""
        return self.S.square().sum().item() / self.num_tokens

    @property
    def inverse_error(self) -> float:
        """max |S A - I|: zero if the tokens come back exactly."""
        return invariants.distance_from_identity(self.S @ self.A)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b m d"]:
        """Rows of the tokens: y = A x, each divided by its gain.

        Raises: ValueError for a distribution, of which a permutation must be drawn first.
        """
        self._must_be_drawn()
        return torch.einsum("mn,bnd->bmd", self.A.to(x), x) / self.gain.to(x)[:, None]

    def inverse(self, y: Float[Tensor, "b m d"]) -> Float[Tensor, "b n d"]:
        """Tokens of the rows: x = S (gain y).

        Raises: ValueError for a distribution, of which a permutation must be drawn first.
        """
        self._must_be_drawn()
        return torch.einsum("nm,bmd->bnd", self.S.to(y), y * self.gain.to(y)[:, None])

    def draw(self, generator: torch.Generator) -> "Basis":
        """A distribution's permutation for one sample; any other basis itself.

        The permutation is uniformly random with probability `ratio`, else raster order (RAR).
        """
        if self.kind != "distribution":
            return self
        target = torch.arange(self.num_tokens)
        order = annealed_orders(1, target, self.ratio, generator)[0]
        drawn = selection(order)
        return replace(self, kind="permutation", A=drawn, S=drawn.T, ratio=0.0)

    def _must_be_drawn(self) -> None:
        if self.kind == "distribution":
            raise ValueError(f"basis '{self.name}' is a distribution: draw a permutation first")


def selection(order: Int[Tensor, " n"]) -> Float[Tensor, "n n"]:
    """The permutation matrix whose row k selects token order[k]."""
    return torch.eye(len(order), dtype=torch.float64)[order]


def groups(sizes: Iterable[int]) -> tuple[range, ...]:
    """Steps of these many rows each."""
    steps, start = [], 0
    for size in sizes:
        steps.append(range(start, start + size))
        start += size
    return tuple(steps)


def one_by_one(num_rows: int) -> tuple[range, ...]:
    """Every row its own step."""
    return groups([1] * num_rows)


def orthogonal(
    grid: tuple[int, int], rows: Float[Tensor, "n n"], steps: tuple[range, ...]
) -> Basis:
    """The basis of an orthogonal matrix."""
    return Basis(kind="orthogonal", grid=grid, A=rows, S=rows.T, steps=steps)


def permuted(grid: tuple[int, int], order: Int[Tensor, " n"], steps: tuple[range, ...]) -> Basis:
    """The basis whose row k is token order[k]."""
    matrix = selection(order)
    return Basis(kind="permutation", grid=grid, A=matrix, S=matrix.T, steps=steps)


def along(grid: tuple[int, int], order: Callable[[int, int], Int[Tensor, " n"]]) -> Basis:
    """Token by token along an order of `nextbasis.basis.orders`."""
    return permuted(grid, order(*grid), one_by_one(grid[0] * grid[1]))
