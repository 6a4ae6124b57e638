"""Statements P1 to P8 of docs/basis.md, each on Gaussian tokens whose best model is known."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from builders import basis_config, generator, tokens
from gaussian import context_loss, energy, errors, moment, noise_loss, regression
from matrices import covariance, eigenbasis, normal, random_matrix, rotation, samples_of, seeded
from nextbasis.basis import make
from nextbasis.basis.objective import energy_part, prediction_part, prefix_error
from nextbasis.basis.statistics import klt, second_moment

N = 16
LINE, COUNTS = torch.arange(N), torch.arange(N, 0, -1)
STRONG = covariance(4)
EYE = torch.eye(N).double()
SEEDS = st.integers(0, 100)
FEW = settings(max_examples=15)


def apply(a: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("mn,bnd->bmd", a, x)


def parts(a: Tensor, x: Tensor, y_hat: Tensor) -> Tensor:
    """Prediction and energy part together."""
    y = apply(a, x)
    return prediction_part(y_hat - y, COUNTS) + energy_part(y, COUNTS)


@given(SEEDS)
@FEW
def test_p1_residual_splits_into_prediction_and_energy_if_orthogonal(seed: int) -> None:
    a = rotation(N, seed)
    x, y_hat = normal(2, 3, N, 2, seed=seed)
    torch.testing.assert_close(prefix_error(x, y_hat, a.T, LINE), parts(a, x, y_hat))


def test_p1_fails_for_a_matrix_that_is_only_near_orthogonal() -> None:
    a = random_matrix(N, 0.5, 1.5)
    x, y_hat = normal(2, 20, N, 2)
    literal, split = prefix_error(x, y_hat, a.T, LINE), parts(a, x, y_hat)
    assert (literal / split - 1).abs().mean() > 0.03


@given(SEEDS)
@FEW
def test_p2_residual_is_a_quadratic_form_for_any_matrix(seed: int) -> None:
    a = random_matrix(N, 0.5, 1.5, seed)
    x, y_hat = normal(2, N, seed=seed)
    place = torch.arange(1, N + 1)
    both = N + 1 - torch.maximum(place[:, None], place)
    formula = (
        N * x @ x - 2 * ((N - place + 1) * y_hat) @ (a @ x) + y_hat @ (both * (a @ a.T)) @ y_hat
    )
    naive = sum((x - a[:k].T @ y_hat[:k]).square().sum() for k in range(1, N + 1))
    exact = prefix_error(x[None, :, None], y_hat[None, :, None], a.T, LINE)
    torch.testing.assert_close(formula, naive)
    torch.testing.assert_close(exact[0], naive)


@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_p3_the_model_cannot_tell_r0_from_r4(family: str) -> None:
    """Whatever the noise weight, the energy part has no gradient for the model."""
    of_model, of_basis = [], []
    for objective in ("r0", "r4"):
        config = basis_config(learned=True, objective=objective, residual_weight=1.0, snr_clip=0.5)
        made: Any = generator(family, config)
        a = rotation(16).float()
        made.basis.set_start(a, a.T, LINE)
        made.loss(tokens(family), torch.arange(4), made.draw(4, 0.5, seeded())).value.backward()
        of_model.append({n: p.grad for n, p in made.backbone.named_parameters()})
        of_basis.append(made.basis.structure.weight.grad)
    for name, gradient in of_model[0].items():
        torch.testing.assert_close(gradient, of_model[1][name], atol=1e-6, rtol=1e-3, msg=name)
    assert not torch.allclose(*of_basis, rtol=0.1)


@given(SEEDS)
@FEW
def test_p4_no_orthogonal_matrix_has_less_energy_part_than_the_klt(seed: int) -> None:
    x = samples_of(STRONG)
    least = energy(eigenbasis(STRONG), STRONG)
    order = torch.randperm(N, generator=seeded(seed))
    for a in (rotation(N, seed), eigenbasis(STRONG)[order]):
        value = energy_part(apply(a, x), COUNTS).mean()
        torch.testing.assert_close(value, energy(a, STRONG))
        assert value >= least - 1e-9


def test_p4_the_moment_is_not_centred() -> None:
    """A mean is energy like any other: it goes first, and centring costs."""
    x = normal(500, N, 1) @ torch.ones(1, 1).double() + 3 * normal(1, N, 1, seed=1)
    centred = eigenbasis(second_moment(x - x.mean(0)))
    value = energy_part(apply(klt(x).double(), x), COUNTS).mean()
    assert value < 0.9 * energy_part(apply(centred, x), COUNTS).mean()
    overlap = klt(x)[0].double() @ torch.nn.functional.normalize(x.mean((0, 2)), dim=0)
    assert abs(overlap) > 0.999


@given(SEEDS)
@FEW
def test_p5_the_residual_as_target_is_the_token_itself(seed: int) -> None:
    a, x, y_hat = rotation(N, seed), normal(N, seed=seed), normal(N, seed=seed + 1)

    def targets(a: Tensor) -> Tensor:
        return torch.stack([a[k] @ (x - a[:k].T @ y_hat[:k]) for k in range(N)])

    torch.testing.assert_close(targets(a), a @ x)
    stretched = random_matrix(N, 0.5, 1.5, seed)
    assert not torch.allclose(targets(stretched), stretched @ x, atol=0.1)


@given(SEEDS)
@FEW
def test_p6_with_clean_context_the_klt_is_the_worst_basis(seed: int) -> None:
    x, worst = samples_of(STRONG), N * STRONG.trace()
    for a in (rotation(N, seed), EYE, eigenbasis(STRONG), eigenbasis(STRONG).flip(0)):
        y_hat = apply(regression(moment(a, STRONG)), apply(a, x))
        value = prefix_error(x, y_hat, a.T, LINE).mean()
        torch.testing.assert_close(value, context_loss(a, STRONG))
        assert value <= worst + 1e-9
    torch.testing.assert_close(value, worst)  # the reversed KLT, the last: any order of it
    assert context_loss(EYE, STRONG) < 0.6 * worst


@given(SEEDS)
@FEW
def test_p7_prediction_errors_multiply_to_the_determinant(seed: int) -> None:
    expected = torch.linalg.slogdet(STRONG).logabsdet
    for a in (rotation(N, seed), eigenbasis(STRONG), EYE):
        torch.testing.assert_close(errors(a, STRONG).log().sum(), expected)


def cell_loss(a: Tensor, time: Tensor) -> Tensor:
    """xAR's least loss: a cell's velocity from its own and earlier noisy cells, jointly."""
    t = time.repeat_interleave(N // len(time))
    c_y, size, total = moment(a, STRONG), N // len(time), torch.zeros(()).double()
    noisy = torch.diag(1 - t) @ c_y @ torch.diag(1 - t) + torch.diag(t**2)
    for k in range(len(time)):
        seen, cell = slice(0, (k + 1) * size), slice(k * size, (k + 1) * size)
        cross = c_y[cell, seen] * (1 - t[seen])
        known = cross @ torch.linalg.solve(noisy[seen, seen], cross.T)
        total += (c_y[cell, cell] - known).trace() / time[k] ** 2
    return total


@given(SEEDS)
@FEW
def test_p7_xar_cannot_see_a_rotation_inside_its_cells(seed: int) -> None:
    time = torch.rand(4, generator=seeded(seed), dtype=torch.float64) * 0.8 + 0.1
    cells = make("xar", 4, 4).A
    inside = torch.block_diag(*(rotation(4, seed + k) for k in range(4)))
    torch.testing.assert_close(cell_loss(inside @ cells, time), cell_loss(cells, time))
    assert not torch.allclose(cell_loss(rotation(N, seed) @ cells, time), cell_loss(cells, time))


def noise_error(x: Tensor, eps: Tensor, t: Tensor, a: Tensor, map_: Tensor) -> Tensor:
    """Squared error of A f(A^T y_t), for one nonlinear f of all tokens."""
    y_t = (1 - t) * apply(a, x) + t * apply(a, eps)
    predicted = apply(a, torch.tanh(apply(map_, apply(a.T, y_t))))
    return (apply(a, eps) - predicted).square().sum((1, 2))


@given(SEEDS)
@FEW
def test_p8_one_noise_level_makes_the_losses_of_y_and_x_equal(seed: int) -> None:
    x, eps = normal(2, 5, N, 3, seed=seed)
    t, map_ = torch.rand(5, 1, 1, generator=seeded(seed)).double(), normal(N, N, seed=seed)
    expected = noise_error(x, eps, t, EYE, map_)
    torch.testing.assert_close(noise_error(x, eps, t, rotation(N, seed), map_), expected)
    stretched = noise_error(x, eps, t, random_matrix(N, 0.5, 1.5, seed), map_)
    assert not torch.allclose(stretched, expected, rtol=0.01)


def test_p8_rotated_noise_is_white_and_stretched_noise_is_not() -> None:
    noise = normal(100_000, N, 1)
    for a, limit in ((rotation(N), 0.02), (random_matrix(N, 0.5, 1.5), 0.8)):
        y = apply(a, noise)[..., 0]
        covariance_ = y.T @ y / len(y)
        torch.testing.assert_close(covariance_, a @ a.T, atol=0.02, rtol=0)
        assert (covariance_ - EYE).abs().max() < limit
    assert (a @ a.T - EYE).abs().max() > 0.2


def test_p8_fails_where_tokens_have_levels_of_their_own() -> None:
    """A x_t is y_t only if A mixes no tokens of different levels, as blocks of cells do not."""
    x, eps = normal(2, 200, N, 3)
    cell = torch.rand(200, 4, 1, generator=seeded()).double().repeat_interleave(4, 1)
    token = torch.rand(200, N, 1, generator=seeded()).double()
    inside = torch.block_diag(*(rotation(4, k) for k in range(4)))

    def difference(a: Tensor, t: Tensor) -> float:
        y_t = (1 - t) * apply(a, x) + t * apply(a, eps)
        return ((apply(a, (1 - t) * x + t * eps) - y_t).norm() / y_t.norm()).item()

    assert difference(inside, cell) < 1e-12
    assert difference(rotation(N), cell) > 0.3 and difference(rotation(N), token) > 0.3
    assert difference(inside, token) > 0.3


def test_p8_equal_losses_of_a_model_are_not_equal_best_losses() -> None:
    """Tokens in order: the basis decides. All tokens jointly: it does not."""
    c = covariance(8)
    eye, best = torch.eye(64).double(), eigenbasis(c)
    values = [noise_loss(a, c).item() for a in (eye, best)]
    assert values == pytest.approx([3.13, 8.23], abs=0.005)
    values = [noise_loss(a, c, 100.0).item() for a in (eye, best)]
    assert values == pytest.approx([45.8, 39.1], abs=0.05)
    for a in (eye, best, rotation(64)):
        c_y = moment(a, c)
        joint = torch.linalg.solve(c_y + eye, c_y).trace()
        torch.testing.assert_close(joint.item(), noise_loss(best, c).item())
