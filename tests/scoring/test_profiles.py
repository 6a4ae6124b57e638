"""Diagnostics of a basis against closed forms and explicit least squares."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.stats import ortho_group

from nextbasis.basis import make
from nextbasis.basis.statistics import principal_axes
from nextbasis.scoring import profiles


def markov(n: int, correlation: float) -> torch.Tensor:
    """Second moment of a stationary first-order process with unit variance."""
    places = torch.arange(n, dtype=torch.float64)
    return correlation ** (places[:, None] - places[None, :]).abs()


def random_moment(n: int, seed: int) -> torch.Tensor:
    root = torch.randn(n, n + 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.T / (n + 3)


def orthogonal(n: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(ortho_group.rvs(n, random_state=seed))


def test_markov_process_is_predicted_from_its_last_value_alone() -> None:
    left = profiles.conditional_variance(markov(6, 0.9))
    torch.testing.assert_close(left, torch.tensor([1.0] + [1 - 0.81] * 5, dtype=torch.float64))


@given(st.integers(2, 9), st.integers(0, 60))
@settings(max_examples=30)
def test_conditional_variances_multiply_to_the_determinant_in_any_basis(n: int, seed: int) -> None:
    moment = random_moment(n, seed)
    y = profiles.coefficient_moment(orthogonal(n, seed), moment)
    left = profiles.conditional_variance(y)
    assert (left <= y.diagonal() + 1e-12).all()
    assert left.log().sum().item() == pytest.approx(np.linalg.slogdet(moment.numpy())[1], abs=1e-8)


@given(st.integers(2, 6), st.integers(1, 12), st.integers(0, 60))
@settings(max_examples=30)
def test_conditional_variance_is_the_error_of_least_squares(n: int, m: int, seed: int) -> None:
    """Also with more rows than tokens, and with rows that repeat earlier ones."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(40, n, dtype=torch.float64, generator=random)
    a = torch.randn(m, n, dtype=torch.float64, generator=random)
    a[-1] = 2 * a[0]
    y = (x @ a.T).numpy()
    moment = profiles.coefficient_moment(a, x.T @ x / 40)
    for row, left in enumerate(profiles.conditional_variance(moment).tolist()):
        weights = np.linalg.lstsq(y[:, :row], y[:, row], rcond=1e-10)[0]
        error = np.mean((y[:, row] - y[:, :row] @ weights) ** 2)
        assert left == pytest.approx(error, rel=1e-6, abs=1e-9)


def test_determined_rows_do_not_disturb_those_after_them() -> None:
    moment = profiles.coefficient_moment(
        torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 1.0]]), torch.eye(2, dtype=torch.float64)
    )
    assert profiles.conditional_variance(moment).tolist() == [1.0, 0.0, 1.0]


def test_frame_leaves_as_many_variances_as_it_has_rank() -> None:
    var = make("var", 4, 4)
    y = profiles.coefficient_moment(var.A, markov(16, 0.9))
    assert (profiles.conditional_variance(y) > 0).sum() == var.rank


def test_klt_has_decreasing_energy_and_nothing_to_predict() -> None:
    moment = markov(8, 0.8)
    y = profiles.coefficient_moment(principal_axes(moment), moment)
    shares = profiles.energy_shares(y)
    expected = torch.linalg.eigvalsh(moment).flip(0) / 8
    torch.testing.assert_close(shares, expected)
    torch.testing.assert_close(profiles.conditional_variance(y), y.diagonal().clone())


def test_energy_index_of_even_and_single_energy() -> None:
    assert profiles.mean_energy_index(torch.full((64,), 1 / 64)) == pytest.approx(31.5)
    assert profiles.mean_energy_index(torch.tensor([0.0, 0.0, 1.0])) == 2


@pytest.mark.parametrize(
    ("rows", "lengths"), [(1, [1]), (2, [1, 2]), (64, [1, 2, 4, 8, 16, 32, 64]), (6, [1, 2, 4, 6])]
)
def test_prefixes_double_and_end_with_all(rows: int, lengths: list[int]) -> None:
    assert profiles.prefix_lengths(rows) == lengths


@given(st.integers(2, 9), st.integers(0, 60))
@settings(max_examples=20)
def test_overlap_is_the_mean_squared_cosine_of_scipy_s_angles(n: int, seed: int) -> None:
    moment = random_moment(n, seed)
    a = random_moment(n, seed + 100)[: n - 1]  # neither square nor orthogonal
    lengths = list(range(1, n))
    axes = torch.linalg.eigh(moment).eigenvectors.flip(1)
    expected = [np.cos(subspace_angles(a[:k].T.numpy(), axes[:, :k].numpy())) ** 2 for k in lengths]
    overlap = profiles.klt_overlap(a, moment, lengths)
    np.testing.assert_allclose(overlap, [value.mean() for value in expected], atol=1e-8)


def test_overlap_ignores_scale_and_counts_repeated_rows_once() -> None:
    moment = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64))
    identity = torch.eye(4, dtype=torch.float64)
    everything = profiles.klt_overlap(0.3 * identity, moment, [1, 2, 4])
    torch.testing.assert_close(everything, torch.ones(3, dtype=torch.float64))
    twice = identity[[0, 0, 1, 2]]
    assert profiles.klt_overlap(twice, moment, [2]).item() == pytest.approx(0.5)


def test_participation_counts_the_tokens_of_a_row() -> None:
    a = torch.tensor([[0.0, -2.0, 0.0, 0.0], [0.5, -0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]])
    assert profiles.participation_ratio(a).tolist() == [1.0, 4.0, 0.0]
    haar = profiles.participation_ratio(make("haar", 4, 4).A)
    assert haar[0].item() == pytest.approx(16) and math.isclose(haar[-1].item(), 4)
