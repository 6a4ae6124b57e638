from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from torch import Tensor

from builders import basis_config, model_config, order_config, token_spec
from matrices import normal, random_matrix, seeded
from nextbasis.basis.definition import Basis
from nextbasis.basis.listing import field
from nextbasis.basis.start import start
from nextbasis.basis.statistics import klt, random_orthogonal, second_moment
from nextbasis.families.common.generator import build


def tokens() -> Tensor:
    """Of a 4 x 4 grid; the two channels are those of one field, the mean is not zero."""
    return torch.cat((field(4, 4), 2 * field(4, 4).flip(0) + 3), 2)


def no_tokens() -> Tensor:
    raise AssertionError("this basis asks for no tokens")


def started(init: str, changes: dict[str, Any] | None = None, **options: Any) -> Basis:
    config = basis_config(init=init, options=options, **(changes or {}))
    basis = start(config, (4, 4), tokens, 7)
    assert basis is not None
    return basis


def test_identity_is_no_basis_and_asks_for_no_tokens() -> None:
    assert start(basis_config(), (4, 4), no_tokens, 0) is None
    fixed = start(basis_config(init="dct"), (4, 4), no_tokens, 0)
    assert fixed is not None and fixed.name == "dct"


def test_klt_and_titok_come_from_the_tokens() -> None:
    x = tokens()
    energies, vectors = eigh(torch.einsum("ind,imd->nm", x, x).numpy() / len(x))
    basis = started("klt")
    overlap = (basis.A.numpy() @ vectors[:, ::-1]).diagonal()
    assert abs(abs(overlap) - 1).max() < 1e-8
    y = basis.forward(x).square().sum(2).mean(0)
    torch.testing.assert_close(y, torch.from_numpy(energies[::-1].copy()))
    few = started("titok", num_rows=5)
    torch.testing.assert_close(few.A, basis.A[:5])


def test_random_depends_on_the_seed_or_its_own_option() -> None:
    assert not torch.equal(started("random").A, started("random", seed=8).A)
    assert torch.equal(started("random").A, started("random", seed=7).A)


def test_scaled_is_a_multiple_of_the_identity() -> None:
    assert torch.equal(started("scaled", scale=0.5).A, 0.5 * torch.eye(16).double())


@pytest.mark.parametrize("init", ["klt", "var", "far_telescoped", "dct"])
def test_unit_gain_gives_every_coefficient_unit_mean_square(init: str) -> None:
    basis, x = started(init, {"gain": "unit"}), tokens()
    y = basis.forward(x)
    ones = torch.ones(basis.num_rows).double()
    torch.testing.assert_close(y.square().mean((0, 2)).sqrt(), ones)
    torch.testing.assert_close(basis.inverse(y), x)
    assert torch.equal(started(init).gain, ones)


def test_unit_gain_leaves_rows_without_energy_alone() -> None:
    """A flat image has no differences: their coefficients are rounding, not a scale."""
    flat = torch.randn(100, 1, 1, generator=seeded(), dtype=torch.float64).expand(100, 16, 1)
    basis = start(basis_config(init="haar", gain="unit"), (4, 4), lambda: flat, 0)
    assert basis is not None
    assert torch.equal(basis.gain[1:], torch.ones(15).double()) and basis.gain[0] > 2


@pytest.mark.parametrize(
    "changes",
    [{"init": "identity"}, {"init": "random", "learned": True, "structure": "kronecker"}],
)
def test_unit_gain_is_refused_where_nothing_could_carry_it(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"basis\.gain=unit needs a named basis and"):
        start(basis_config(gain="unit", **changes), (4, 4), tokens, 0)


def test_a_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match=r"basis\.init=rar is a distribution over bases, not one"):
        started("rar", ratio=0.5)


@pytest.mark.parametrize("init", ["var", "far_telescoped", "titok"])
def test_bases_that_are_not_square_are_refused_if_learned(init: str) -> None:
    with pytest.raises(
        ValueError, match=rf"basis\.learned needs a square A, .* basis\.init={init}"
    ):
        started(init, {"learned": True})


def test_xar_refuses_rows_that_do_not_divide_into_cells() -> None:
    """VAR's pyramid of 8 x 8 tokens has 155 rows: no four cells of equal size."""
    basis = start(basis_config(init="var"), (8, 8), no_tokens, 0)
    assert basis is not None and basis.num_rows == 155
    spec = token_spec("xar", (8, 8))
    spec = replace(spec, num_rows=basis.num_rows)
    message = r"4 cells of equal size \(model.cells_per_side = 2\) do not divide the 155 rows"
    with pytest.raises(ValueError, match=message):
        build(model_config("xar"), basis_config(), order_config(), spec)
    spec = replace(spec, num_rows=156)
    made = build(model_config("xar"), basis_config(), order_config(), spec)
    assert made.basis is not None and made.basis.matrix().shape == (156, 64)


def test_klt_rows_are_the_sorted_eigenvectors() -> None:
    mixing = random_matrix(5, 0.2, 3, 7)
    x = torch.einsum("nk,mkd->mnd", mixing, normal(400, 5, 2))
    a = klt(x).double()
    diagonal = a @ second_moment(x) @ a.T
    energies = diagonal.diagonal()
    assert (energies[:-1] >= energies[1:]).all()
    assert (diagonal - torch.diag(energies)).abs().max() < 1e-5 * energies[0]


@given(st.integers(2, 12), st.integers(0, 100))
@settings(max_examples=20)
def test_random_orthogonal_preserves_norms(n: int, seed: int) -> None:
    a = random_orthogonal(n, seeded(seed)).float()
    x = normal(n, 3, seed=seed).float()
    torch.testing.assert_close((a @ x).norm(), x.norm())
    torch.testing.assert_close(a @ a.T, torch.eye(n), atol=1e-5, rtol=0)
