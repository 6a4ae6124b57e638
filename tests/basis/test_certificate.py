"""The certificate that spares a singular value decomposition is exact to rounding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbasis.basis.projection import certified

LIMITS = (0.5, 1.5)


def with_singular_values(sigma: np.ndarray, seed: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    u, v = (np.linalg.qr(random.normal(size=(len(sigma),) * 2))[0] for _ in range(2))
    return torch.from_numpy(u @ np.diag(sigma) @ v).float()[None]


@given(st.integers(1, 24), st.booleans(), st.integers(0, 100))
@settings(deadline=None)
def test_all_values_inside_are_certified_and_one_outside_is_not(
    n: int, at_the_top: bool, seed: int
) -> None:
    sigma = np.random.default_rng(seed).uniform(0.501, 1.499, n)
    sigma[0] = 1.499 if at_the_top else 0.501
    assert certified(with_singular_values(sigma, seed), *LIMITS)
    sigma[0] = 1.501 if at_the_top else 0.499
    assert not certified(with_singular_values(sigma, seed), *LIMITS)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_certified(value: float) -> None:
    assert not certified(torch.full((1, 3, 3), value), *LIMITS)
