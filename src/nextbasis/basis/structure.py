"""How a square A is parametrised: dense, or structured so that it stays cheap for many tokens.

Tokens come in the host's order as a (p, q) layout, n = p q: rows and columns of the grid for MAR,
cells and tokens of a cell for xAR. Every structure starts at the identity or at random, maps
tokens without building A where it can, and names its `factors`: the square matrices whose singular
values projection and regulariser look at.

b images, n tokens of d channels, k factors of s x s, r reflections.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Square = Callable[[int], Float[Tensor, "s s"]]  # size to a start: the identity or a random one


class Dense(nn.Module):
    """A as it is: m n numbers. The only structure that need not be square."""

    def __init__(self, weight: Float[Tensor, "m n"]) -> None:
        """Start at `weight`."""
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b m d"]:
        """A x."""
        return torch.einsum("mn,bnd->bmd", self.weight, x)

    def matrix(self) -> Float[Tensor, "m n"]:
        """A."""
        return self.weight

    def factors(self) -> list[Float[Tensor, "k s s"]]:
        """A itself."""
        return [self.weight[None]]


class Kronecker(nn.Module):
    """A = B (x) C: p^2 + q^2 numbers, such as the separable DCT. Both factors share delta."""

    def __init__(self, layout: tuple[int, int], start: Square) -> None:
        """B acts on the first axis of the layout, C on the second."""
        super().__init__()
        self.layout = layout
        self.first, self.second = (nn.Parameter(start(size)) for size in layout)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """A x, one axis after the other."""
        grid = x.unflatten(1, self.layout)
        grid = torch.einsum("ip,bpqd->biqd", self.first, grid)
        return torch.einsum("jq,biqd->bijd", self.second, grid).flatten(1, 2)

    def matrix(self) -> Float[Tensor, "n n"]:
        """A."""
        return torch.kron(self.first, self.second)

    def factors(self) -> list[Float[Tensor, "k s s"]]:
        """B and C, whose singular values multiply to those of A."""
        return [self.first[None], self.second[None]]


class Blocks(nn.Module):
    """A block-diagonal: p blocks of q x q. Keeps xAR's loss exact under one noise level a cell."""

    def __init__(self, layout: tuple[int, int], start: Square) -> None:
        """One block for each index of the layout's first axis."""
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.stack([start(layout[1]) for _ in range(layout[0])]))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """A x, block by block."""
        return torch.einsum("pij,bpjd->bpid", self.weight, x.unflatten(1, self.layout)).flatten(
            1, 2
        )

    def matrix(self) -> Float[Tensor, "n n"]:
        """A."""
        return torch.block_diag(*self.weight)

    def factors(self) -> list[Float[Tensor, "k s s"]]:
        """The blocks."""
        return [self.weight]


class Householder(nn.Module):
    """A = H_1 ... H_r with reflections H_i = I - 2 v_i v_i^T / |v_i|^2: r n numbers.

    Orthogonal whatever the vectors are, so there is nothing to project.
    """

    def __init__(self, size: int, reflections: int, generator: torch.Generator | None) -> None:
        """Random vectors from `generator`; without one, equal pairs, whose product is I.

        Raises: ValueError if the number of reflections is odd (determinant -1: not near I).
        """
        super().__init__()
        if reflections < 2 or reflections % 2:
            raise ValueError(f"basis.reflections must be even and positive, got {reflections}")
        if generator is not None:
            vectors = torch.randn(reflections, size, generator=generator)
        else:
            spread = torch.linspace(0, size - 1, reflections // 2).long()
            vectors = torch.eye(size)[spread].repeat_interleave(2, 0)
        self.vectors = nn.Parameter(vectors)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """A x, reflection after reflection."""
        for v in self.vectors.flip(0):
            projection = torch.einsum("n,bnd->bd", v, x) / v.square().sum()
            x = x - 2 * v[:, None] * projection[:, None]
        return x

    def matrix(self) -> Float[Tensor, "n n"]:
        """A."""
        size = self.vectors.shape[1]
        return self(torch.eye(size, dtype=self.vectors.dtype, device=self.vectors.device)[None])[0]

    def factors(self) -> list[Float[Tensor, "k s s"]]:
        """None."""
        return []


Structure = Dense | Kronecker | Blocks | Householder
