from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag

from matrices import normal, rotation, seeded
from nextbasis.basis.structure import Blocks, Dense, Householder, Kronecker, Structure

LAYOUT = (2, 3)


def draw(size: int) -> torch.Tensor:
    """A random matrix that depends on its size alone."""
    return normal(size, size, seed=size)


def reflection(v: np.ndarray) -> np.ndarray:
    return np.eye(len(v)) - 2 * np.outer(v, v) / (v @ v)


STRUCTURES: dict[str, Callable[[], Structure]] = {
    "dense": lambda: Dense(normal(6, 6)),
    "frame": lambda: Dense(normal(8, 6)),
    "kronecker": lambda: Kronecker(LAYOUT, draw),
    "blocks": lambda: Blocks(LAYOUT, draw),
    "householder": lambda: Householder(6, 4, seeded()).double(),
}


def explicit(structure: Structure) -> np.ndarray:
    """A, built by NumPy and SciPy from the parameters."""
    values = [parameter.detach().numpy() for parameter in structure.parameters()]
    if isinstance(structure, Kronecker):
        return np.kron(*values)
    if isinstance(structure, Blocks):
        return block_diag(*values[0])
    if isinstance(structure, Householder):
        return reduce(np.matmul, [reflection(v) for v in values[0]])
    return values[0]


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_is_its_explicit_matrix(name: str) -> None:
    structure = STRUCTURES[name]()
    if isinstance(structure, Blocks):
        structure.weight.data = normal(*structure.weight.shape)
    expected = torch.from_numpy(explicit(structure))
    torch.testing.assert_close(structure.matrix(), expected)
    x = normal(3, 6, 2)
    torch.testing.assert_close(structure(x), torch.einsum("mn,bnd->bmd", expected, x))


@pytest.mark.parametrize("name", STRUCTURES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    structure = STRUCTURES[name]()
    names = [key for key, _ in structure.named_parameters()]

    def apply(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(structure, named, (x,))

    inputs = (normal(2, 6, 1).requires_grad_(), *structure.parameters())
    assert torch.autograd.gradcheck(apply, inputs)


@pytest.mark.parametrize("name", ["kronecker", "blocks", "householder"])
def test_structure_starts_at_the_identity(name: str) -> None:
    made = {
        "kronecker": lambda: Kronecker(LAYOUT, torch.eye),
        "blocks": lambda: Blocks(LAYOUT, torch.eye),
        "householder": lambda: Householder(6, 4, None),
    }[name]()
    torch.testing.assert_close(made.matrix(), torch.eye(6), atol=1e-6, rtol=0)


def test_singular_values_of_factors_multiply_or_unite_to_those_of_the_matrix() -> None:
    for name in ("dense", "kronecker", "blocks"):
        structure = STRUCTURES[name]()
        sigma = [torch.linalg.svdvals(factor) for factor in structure.factors()]
        if name == "kronecker":
            sigma = [sigma[0].flatten()[:, None] * sigma[1].flatten()]
        expected = torch.linalg.svdvals(structure.matrix())
        torch.testing.assert_close(sigma[0].flatten().sort(descending=True).values, expected)


def test_householder_is_a_rotation_whatever_its_vectors_and_has_no_factors() -> None:
    structure = Householder(5, 6, seeded()).double()
    structure.vectors.data *= 37
    a = structure.matrix().detach()
    torch.testing.assert_close(a @ a.T, torch.eye(5).double())
    torch.testing.assert_close(torch.linalg.det(a), torch.tensor(1.0).double())
    assert structure.factors() == []


def test_householder_leaves_the_identity_when_it_learns() -> None:
    """Equal pairs cancel; their gradients do not."""
    structure = Householder(6, 6, None).double()
    goal, x = rotation(6), torch.eye(6).double()[None]
    goal[0] *= torch.linalg.det(goal)
    optim = torch.optim.Adam(structure.parameters(), lr=0.05)
    first = (structure.matrix() - goal).square().sum().item()
    for _ in range(300):
        optim.zero_grad()
        (structure(x)[0] - goal).square().sum().backward()
        optim.step()
    assert (structure.matrix() - goal).square().sum().item() < 0.01 * first


@pytest.mark.parametrize("reflections", [0, 1, 7])
def test_householder_refuses_an_odd_number_of_reflections(reflections: int) -> None:
    with pytest.raises(ValueError, match=f"must be even and positive, got {reflections}"):
        Householder(6, reflections, None)


def test_sizes_are_those_of_the_documentation() -> None:
    sizes = {
        "dense": Dense(torch.eye(256)),
        "kronecker": Kronecker((16, 16), torch.eye),
        "blocks": Blocks((4, 64), torch.eye),
        "householder": Householder(256, 32, None),
    }
    count = {name: sum(p.numel() for p in made.parameters()) for name, made in sizes.items()}
    assert count == {"dense": 65_536, "kronecker": 512, "blocks": 16_384, "householder": 8_192}
