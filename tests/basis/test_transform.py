from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import basis_config
from matrices import normal, random_matrix, rotation, seeded
from nextbasis.basis import make
from nextbasis.basis.listing import field
from nextbasis.basis.statistics import with_unit_rows
from nextbasis.basis.structure import Kronecker
from nextbasis.basis.transform import BasisTransform
from nextbasis.training.optimiser import MovingAverage

LAYOUT = (2, 3)


def dense(a: torch.Tensor, s: torch.Tensor | None = None, **changes: Any) -> BasisTransform:
    """A transform with this A, learned unless said otherwise."""
    config = basis_config(**{"learned": True} | changes)
    made = BasisTransform(config, (1, a.shape[1]), len(a))
    made.set_start(a.float(), (a.T if s is None else s).float(), torch.arange(len(a)))
    return made


def structured(structure: str, init: str = "random") -> BasisTransform:
    config = basis_config(learned=True, structure=structure, init=init, reflections=4)
    return BasisTransform(config, LAYOUT, seed=3)


@given(st.integers(2, 10), st.integers(0, 50))
@settings(max_examples=20)
def test_invert_undoes_any_well_conditioned_matrix(n: int, seed: int) -> None:
    basis = dense(random_matrix(n, 0.5, 1.5, seed))
    x = normal(2, n, 3, seed=seed).float()
    torch.testing.assert_close(basis.invert(basis(x)), x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("structure", ["kronecker", "blocks", "householder"])
def test_structures_start_orthogonal_and_are_inverted(structure: str) -> None:
    basis, x = structured(structure), normal(2, 6, 3).float()
    a = basis.matrix().detach()
    torch.testing.assert_close(a @ a.T, torch.eye(6), atol=1e-5, rtol=0)
    assert (a - torch.eye(6)).norm() > 0.5 and torch.equal(a, basis.start)
    torch.testing.assert_close(basis(x), torch.einsum("mn,bnd->bmd", a, x))
    torch.testing.assert_close(basis.invert(basis(x)), x, atol=1e-5, rtol=1e-5)
    identity = structured(structure, "identity")
    torch.testing.assert_close(identity(x), x)
    assert torch.equal(structured(structure).matrix(), structured(structure).matrix())


@pytest.mark.parametrize("name", ["var", "fractalgen", "titok", "scaled", "dct"])
def test_fixed_bases_come_back_through_their_decoder(name: str) -> None:
    options = {"guiding_pixel": True} if name == "fractalgen" else {}
    tokens = field(4, 4)
    options |= {"tokens": tokens} if name == "titok" else {}
    made = with_unit_rows(make(name, 4, 4, **options), tokens)
    weight, decoder = made.A / made.gain[:, None], made.S * made.gain
    basis = dense(weight, decoder, learned=False)
    x = tokens[:5].float()
    y = basis(x)
    torch.testing.assert_close(y, made.forward(tokens[:5]).float(), atol=1e-4, rtol=1e-4)
    kept = made.S @ made.A  # the identity but for titok
    expected = torch.einsum("mn,bnd->bmd", kept.float(), x)
    torch.testing.assert_close(basis.invert(y), expected, atol=1e-4, rtol=1e-4)
    assert not list(p for p in basis.parameters() if p.requires_grad)


@pytest.mark.parametrize(("projection", "low", "high"), [("hard", 1, 1), ("soft", 0.7, 1.3)])
def test_projection_clamps_a_dense_matrix(projection: str, low: float, high: float) -> None:
    a = random_matrix(6, 0.1, 2.5, 3)
    basis = dense(a, projection=projection, delta=0.3)
    basis.project_()
    u, sigma, vt = np.linalg.svd(a.numpy())
    expected = u @ np.diag(np.clip(sigma, low, high)) @ vt
    torch.testing.assert_close(
        basis.matrix().double(), torch.from_numpy(expected), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("structure", ["kronecker", "blocks"])
@pytest.mark.parametrize(("projection", "low", "high"), [("hard", 1, 1), ("soft", 0.7, 1.3)])
def test_projection_keeps_a_structured_matrix_within_delta(
    structure: str, projection: str, low: float, high: float
) -> None:
    basis = structured(structure)
    basis.config.projection, basis.config.delta = projection, 0.3
    with torch.no_grad():
        for k, parameter in enumerate(basis.parameters()):
            parameter.add_(normal(*parameter.shape, seed=k))
    basis.project_()
    sigma = torch.linalg.svdvals(basis.matrix().detach())
    assert sigma.min() >= low - 1e-5 and sigma.max() <= high + 1e-5


def test_projection_none_fixed_and_householder_change_nothing() -> None:
    a = random_matrix(6, 0.1, 2.5)
    for basis in (dense(a, projection="none"), dense(a, learned=False), structured("householder")):
        before = basis.matrix().detach().clone()
        basis.project_()
        assert torch.equal(basis.matrix(), before) and basis.num_projected == 0


def test_certificate_spares_the_decomposition_and_is_counted() -> None:
    basis = dense(random_matrix(6, 0.9, 1.1))
    inside = basis.matrix().detach().clone()
    basis.project_()
    assert torch.equal(basis.matrix(), inside) and basis.num_projected == 0
    with torch.no_grad():
        basis.structure.factors()[0].mul_(3)
    basis.project_()
    assert basis.num_projected == 1 and basis.num_steps == 2
    assert basis.diagnostics()["projected_share"] == 0.5
    again = dense(torch.eye(6).double())
    again.load_state_dict(basis.state_dict())
    assert again.num_projected == 1 and again.num_steps == 2


def test_average_of_two_rotations_is_put_back_by_a_projection() -> None:
    """Their mean shrinks by cos of half the angle between them."""
    angle = torch.tensor(1.2)
    c, s = torch.cos(angle), torch.sin(angle)
    basis = dense(torch.eye(2).double(), projection="hard")
    ema = MovingAverage(basis, 0.5)
    with torch.no_grad():
        basis.structure.factors()[0].copy_(torch.stack([c, -s, s, c]).view(1, 2, 2))
    ema.update(basis)
    averaged: Any = ema.module
    sigma = torch.linalg.svdvals(averaged.matrix().detach())
    torch.testing.assert_close(sigma, torch.cos(angle / 2).expand(2))
    averaged.project_()
    c, s = torch.cos(angle / 2), torch.sin(angle / 2)
    expected = torch.stack([c, -s, s, c]).view(2, 2)
    torch.testing.assert_close(averaged.matrix().detach(), expected)


@pytest.mark.parametrize(
    ("diagonal", "message"), [([1, 1, 0], "A is singular"), ([1, 1, 1e-7], "A is ill-conditioned")]
)
def test_a_learned_matrix_without_inverse_is_refused(diagonal: list[float], message: str) -> None:
    basis = dense(torch.diag(torch.tensor(diagonal)))
    with pytest.raises(ValueError, match=f"{message}.*basis.projection=soft or hard"):
        basis.invert(torch.zeros(1, 3, 1))


@pytest.mark.parametrize("structure", ["kronecker", "blocks", "householder"])
def test_structures_start_at_the_identity_or_at_random_and_are_square(structure: str) -> None:
    config = basis_config(learned=True, structure=structure, init="dct", reflections=2)
    message = f"basis.structure={structure} starts at basis.init=identity or random, got 'dct'"
    with pytest.raises(ValueError, match=message):
        BasisTransform(config, LAYOUT)
    with pytest.raises(ValueError, match=f"basis.structure={structure}"):
        BasisTransform(basis_config(learned=True, structure=structure), LAYOUT, 8)


def test_regulariser_sums_the_errors_of_the_factors() -> None:
    sigma = torch.tensor([1.0, 2.0, 0.5])
    torch.testing.assert_close(dense(torch.diag(sigma)).regulariser(), ((sigma**2 - 1) ** 2).sum())
    basis = structured("kronecker", "identity")
    assert isinstance(basis.structure, Kronecker)
    with torch.no_grad():
        basis.structure.first.mul_(2)
        basis.structure.second.mul_(0.5)
    torch.testing.assert_close(basis.regulariser().item(), 2 * 3.0**2 + 3 * 0.75**2)
    assert structured("householder").regulariser() == 0


def test_diagnostics_tell_singular_values_and_the_way_from_the_start() -> None:
    basis = dense(torch.eye(3).double())
    with torch.no_grad():
        basis.structure.factors()[0].copy_(torch.diag(torch.tensor([0.5, 1.0, 2.0]))[None])
    told = basis.diagnostics()
    assert (told["sigma_min"], told["sigma_max"]) == pytest.approx((0.5, 2.0))
    assert told["sigma_mean"] == pytest.approx(3.5 / 3)
    assert told["distance_from_start"] == pytest.approx((0.25 + 1) ** 0.5)
    assert told["orthogonality_error"] == pytest.approx(0.75**2 + 3**2)
    assert told["projected_share"] == 0


def test_a_learned_matrix_is_not_inverted_by_a_stored_decoder() -> None:
    basis = dense(rotation(4))
    assert not basis.decoder.numel()
    with torch.no_grad():
        basis.structure.factors()[0].copy_(2 * rotation(4, 1).float()[None])
    x = torch.randn(1, 4, 2, generator=seeded())
    torch.testing.assert_close(basis.invert(basis(x)), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("structure", ["dense", "kronecker", "blocks"])
def test_tangent_gradient_is_the_part_along_the_orthogonal_matrices(structure: str) -> None:
    """Its factor F^T G is skew, and what it leaves out is normal: F times a symmetric matrix."""
    config = basis_config(init="random", learned=True, projection="hard", structure=structure)
    basis = BasisTransform(config, LAYOUT, seed=1)
    if structure == "dense":
        basis.set_start(rotation(6, 4).float(), torch.eye(6), torch.arange(6))
    factors = list(basis.structure.parameters())
    before = [normal(*factor.shape, seed=2).float() for factor in factors]
    for factor, gradient in zip(factors, before, strict=True):
        factor.grad = gradient.clone()
    basis.tangent_()
    for factor, gradient in zip(factors, before, strict=True):
        assert factor.grad is not None
        along = factor.detach().mT @ factor.grad
        left_out = factor.detach().mT @ (gradient - factor.grad)
        torch.testing.assert_close(along, -along.mT, atol=1e-5, rtol=0)
        torch.testing.assert_close(left_out, left_out.mT, atol=1e-5, rtol=0)


def test_gradients_are_left_alone_unless_the_projection_is_hard() -> None:
    basis = BasisTransform(basis_config(learned=True, projection="soft"), LAYOUT)
    (factor,) = basis.structure.parameters()
    factor.grad = normal(*factor.shape, seed=0).float()
    before = factor.grad.clone()
    basis.tangent_()
    assert torch.equal(factor.grad, before)
