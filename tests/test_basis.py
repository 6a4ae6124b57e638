import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from builders import basis_config
from nextbasis.basis.constructions import initial
from nextbasis.basis.objective import prefix_error, residual_loss
from nextbasis.basis.statistics import klt, random_orthogonal, second_moment
from nextbasis.basis.transform import Basis, orthogonality_error, project


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_matrix(n: int, low: float, high: float, seed: int) -> torch.Tensor:
    """A float64 matrix with singular values in [low, high]."""
    u = torch.from_numpy(ortho_group.rvs(n, random_state=seed))
    v = torch.from_numpy(ortho_group.rvs(n, random_state=seed + 1))
    sigma = low + (high - low) * torch.rand(n, generator=seeded(seed), dtype=torch.float64)
    return u @ torch.diag(sigma) @ v


@given(st.integers(2, 12), st.integers(0, 100))
@settings(max_examples=20)
def test_random_orthogonal_preserves_norms(n: int, seed: int) -> None:
    a = random_orthogonal(n, seeded(seed))
    x = torch.randn(n, 3, generator=seeded(seed))
    torch.testing.assert_close((a @ x).norm(), x.norm())
    assert orthogonality_error(a) < 1e-9


@given(st.integers(2, 10), st.integers(0, 50))
@settings(max_examples=20)
def test_invert_undoes_any_well_conditioned_basis(n: int, seed: int) -> None:
    basis = Basis(basis_config(), random_matrix(n, 0.5, 1.5, seed).float())
    x = torch.randn(2, n, 3, generator=seeded(seed))
    torch.testing.assert_close(basis.invert(basis(x)), x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("projection", "low", "high"), [("hard", 1, 1), ("soft", 0.5, 1.5)])
def test_projection_clamps_singular_values_and_keeps_directions(
    projection: str, low: float, high: float
) -> None:
    a = random_matrix(6, 0.1, 2.5, 3)
    projected = project(a, projection, 0.5)
    u, sigma, vt = torch.linalg.svd(a)
    torch.testing.assert_close(torch.linalg.svdvals(projected), sigma.clamp(low, high))
    torch.testing.assert_close(projected, u @ torch.diag(sigma.clamp(low, high)) @ vt)


def test_no_projection_and_satisfied_soft_projection_change_nothing() -> None:
    a = random_matrix(6, 0.1, 2.5, 3)
    assert torch.equal(project(a, "none", 0.5), a)
    inside = random_matrix(6, 0.6, 1.4, 5)
    assert torch.equal(project(inside, "soft", 0.5), inside)


def test_regulariser_is_the_squared_frobenius_norm() -> None:
    sigma = torch.tensor([1.0, 2.0, 0.5])
    basis = Basis(basis_config(learned=True), torch.diag(sigma))
    expected = ((sigma**2 - 1) ** 2).sum()
    torch.testing.assert_close(basis.regulariser(), expected)


def test_klt_rows_are_the_sorted_eigenvectors() -> None:
    mixing = random_matrix(5, 0.2, 3, 7).float()
    x = torch.einsum("nk,mkd->mnd", mixing, torch.randn(400, 5, 2, generator=seeded(0)))
    a = klt(x).double()
    moment = second_moment(x)
    diagonal = a @ moment @ a.T
    energies = diagonal.diagonal()
    assert (energies[:-1] >= energies[1:]).all()
    assert (diagonal - torch.diag(energies)).abs().max() < 1e-5 * energies[0]


def test_initial_matrices_and_unknown_name() -> None:
    assert torch.equal(initial("identity", 3, 0.5, None, seeded(0)), torch.eye(3))
    assert torch.equal(initial("scaled", 3, 0.5, None, seeded(0)), 0.5 * torch.eye(3))
    with pytest.raises(ValueError, match=r"basis\.init must be .* got 'wavelet'"):
        initial("wavelet", 3, 1.0, None, seeded(0))


def naive_prefix_error(x: torch.Tensor, y_hat: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(len(x), dtype=x.dtype)
    for k in range(1, x.shape[1] + 1):
        kept = torch.cat((y_hat[:, :k], torch.zeros_like(y_hat[:, k:])), 1)
        total += (x - torch.einsum("kn,bkd->bnd", a, kept)).square().sum((1, 2))
    return total


@given(st.integers(2, 9), st.integers(0, 100))
@settings(max_examples=25)
def test_prefix_error_equals_the_explicit_sum_for_any_matrix(n: int, seed: int) -> None:
    a = random_matrix(n, 0.3, 1.7, seed)
    x, y_hat = torch.randn(2, 3, n, 2, generator=seeded(seed), dtype=torch.float64)
    torch.testing.assert_close(prefix_error(x, y_hat, a), naive_prefix_error(x, y_hat, a))


def test_residual_loss_splits_into_prediction_and_energy_when_orthogonal() -> None:
    n, d = 6, 2
    a = torch.from_numpy(ortho_group.rvs(n, random_state=1))
    x, error = torch.randn(2, 4, n, d, generator=seeded(2), dtype=torch.float64)
    y = torch.einsum("kn,bnd->bkd", a, x)
    position = torch.arange(1, n + 1, dtype=torch.float64)
    prediction = ((n - position + 1) * error.square().sum(2)).sum(1)
    energy = ((position - 1) * y.square().sum(2)).sum(1)
    expected = (prediction + energy).mean() / (d * n * (n + 1) / 2)
    torch.testing.assert_close(residual_loss(x, y, error, a), expected)


def test_energy_part_turns_the_basis_into_the_klt() -> None:
    """With perfect predictions only the energy part is left; its optimum is the KLT."""
    scales = torch.tensor([0.3, 2.0, 1.0, 0.1])
    x = scales[:, None] * torch.randn(500, 4, 1, generator=seeded(0))
    basis = Basis(basis_config(learned=True, projection="hard"), random_orthogonal(4, seeded(1)))
    optim = torch.optim.Adam(basis.parameters(), lr=0.02)
    for _ in range(400):
        optim.zero_grad()
        y = basis(x)
        residual_loss(x, y, torch.zeros_like(y), basis.weight).backward()
        optim.step()
        basis.project_()
    overlap = (basis.weight.detach() @ klt(x).T).abs()
    torch.testing.assert_close(overlap, torch.eye(4), atol=0.05, rtol=0)
