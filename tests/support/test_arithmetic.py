"""Square roots and distances against NumPy's and SciPy's, and what MKL would do in their place."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from nextbasis.support.arithmetic import distances, root


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_roots_are_one_unit_in_the_last_place_off_at_most(dtype: torch.dtype) -> None:
    x = torch.rand(10_000, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 100
    found, wanted = root(x).numpy(), np.sqrt(x.numpy())
    assert (np.abs(found - wanted) <= np.spacing(wanted)).all()
    # Both steps are ones that IEEE 754 prescribes, so NumPy's own agree to the bit.
    np.testing.assert_array_equal(found, 1 / (1 / wanted))


def test_roots_of_zero_infinity_and_less_than_zero() -> None:
    found = root(torch.tensor([0.0, torch.inf, -1.0]))
    assert found[0] == 0 and found[1] == torch.inf and found[2].isnan()


def test_roots_have_their_derivative() -> None:
    x = torch.tensor([0.25, 4.0], dtype=torch.float64, requires_grad=True)
    root(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 0.25], dtype=torch.float64))


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (80, 60)])
def test_distances_are_euclidean(rows: int, columns: int) -> None:
    drawn = torch.Generator().manual_seed(1)
    x, y = (torch.randn(n, 16, generator=drawn, dtype=torch.float64) for n in (rows, columns))
    before = x.clone(), y.clone()
    np.testing.assert_allclose(distances(x, y).numpy(), cdist(x.numpy(), y.numpy()), rtol=1e-12)
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])
