import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matrices import normal, random_matrix, rotation
from nextbasis.basis.projection import (
    TOLERANCE,
    certified,
    clamp,
    gram_error,
    largest_error,
    orthogonality_error,
)


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 200))
def test_largest_error_is_never_below_the_spectral_norm(n: int, k: int, seed: int) -> None:
    error = normal(k, n, n, seed=seed)
    error = error + error.mT
    true = max(np.linalg.norm(matrix, 2) for matrix in error.numpy())
    assert largest_error(error) >= true * (1 - 1e-12)


@given(
    st.integers(2, 10),
    st.floats(0.01, 1.2),
    st.floats(0, 1.5),
    st.sampled_from([(1.0, 1.0), (0.5, 1.5), (0.9, 1.1), (0.25, 1.1)]),
    st.integers(0, 200),
)
@settings(max_examples=200)
def test_certified_factors_have_no_singular_value_outside(
    n: int, low: float, width: float, limits: tuple[float, float], seed: int
) -> None:
    factor = torch.stack([random_matrix(n, low, low + width, seed), rotation(n, seed)])
    if certified(factor, *limits):
        sigma = np.linalg.svd(factor.numpy(), compute_uv=False)
        assert sigma.min() ** 2 >= limits[0] ** 2 - TOLERANCE
        assert sigma.max() ** 2 <= limits[1] ** 2 + TOLERANCE


@pytest.mark.parametrize("n", [4, 64, 256])
def test_an_orthogonal_factor_in_single_precision_is_certified_for_any_limits(n: int) -> None:
    factor = rotation(n).float()[None]
    assert certified(factor, 1.0, 1.0) and certified(factor, 0.5, 1.5)


def test_one_factor_outside_is_enough_to_certify_nothing() -> None:
    factor = torch.stack([torch.eye(4), torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.6]))])
    assert certified(factor[:1], 0.5, 1.5) and not certified(factor, 0.5, 1.5)


@given(st.integers(1, 8), st.floats(0, 0.9), st.integers(0, 100))
def test_clamp_clips_the_singular_values_and_keeps_the_directions(
    n: int, delta: float, seed: int
) -> None:
    factor = torch.stack([random_matrix(n, 0.1, 2.5, seed), random_matrix(n, 0.8, 1.2, seed)])
    expected = []
    for matrix in factor.numpy():
        u, sigma, vt = np.linalg.svd(matrix)
        expected.append(u @ np.diag(np.clip(sigma, 1 - delta, 1 + delta)) @ vt)
    torch.testing.assert_close(
        clamp(factor, 1 - delta, 1 + delta), torch.from_numpy(np.stack(expected))
    )


def test_a_hard_clamp_is_the_nearest_orthogonal_matrix() -> None:
    a = random_matrix(5, 0.3, 2.0)
    nearest = clamp(a[None], 1.0, 1.0)[0]
    torch.testing.assert_close(nearest @ nearest.T, torch.eye(5).double())
    others = torch.stack([rotation(5, seed) for seed in range(50)])
    others = torch.cat((others, clamp(nearest + 0.1 * normal(50, 5, 5), 1.0, 1.0)))
    assert ((a - others).square().sum((1, 2)) >= (a - nearest).square().sum()).all()


def test_errors_are_those_of_the_singular_values() -> None:
    sigma = torch.tensor([[0.5, 1.0, 2.0], [1.0, 1.0, 3.0]])
    factor = torch.diag_embed(sigma)
    torch.testing.assert_close(gram_error(factor), torch.diag_embed(sigma**2 - 1))
    torch.testing.assert_close(orthogonality_error(factor), ((sigma**2 - 1) ** 2).sum())
