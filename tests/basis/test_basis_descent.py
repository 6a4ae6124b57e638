"""Statements P9 to P12 of docs/basis.md: where descent takes A, and what parallel steps lose."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from builders import basis_config
from gaussian import (
    descend,
    energy,
    errors,
    mean_place,
    moment,
    noise_loss,
    parallel_loss,
    prediction_loss,
    regression,
    velocity_loss,
)
from matrices import covariance, eigenbasis, random_matrix, rotation, samples_of
from nextbasis.basis import make
from nextbasis.basis.objective import Seen, total_loss
from nextbasis.basis.projection import orthogonality_error

STRONG, WEAK = covariance(3), covariance(3, 0.5, 0.45)
EYE, BEST = torch.eye(9).double(), eigenbasis(STRONG)
HOST_LOSSES = {"noise": noise_loss, "velocity": velocity_loss}


def sigma(a: Tensor) -> Tensor:
    return torch.linalg.svdvals(a)


@pytest.mark.parametrize("name", HOST_LOSSES)
@pytest.mark.parametrize("field", [STRONG, WEAK])
def test_p9_every_gradient_shrinks_the_basis(name: str, field: Tensor) -> None:
    """<G, A> > 0: the loss grows with the scale of any A."""
    for seed in range(5):
        a = random_matrix(9, 0.5, 1.5, seed).requires_grad_()
        (gradient,) = torch.autograd.grad(HOST_LOSSES[name](a, field), a)
        assert (gradient * a).sum() > 0


@pytest.mark.parametrize("name", HOST_LOSSES)
def test_p9_only_the_regulariser_keeps_the_scale(name: str) -> None:
    loss = HOST_LOSSES[name]

    def regular(a: Tensor) -> Tensor:
        return loss(a, STRONG) + orthogonality_error(a[None])

    free = descend(lambda a: loss(a, STRONG), EYE, 120)
    soft = descend(lambda a: loss(a, STRONG), EYE, 60, (0.5, 1.5))
    kept = descend(regular, EYE, 60, (0.5, 1.5))
    assert sigma(free).median() < 0.5 and sigma(free).min() < 0.05
    assert sigma(soft).median() == pytest.approx(0.5, abs=1e-6)
    assert sigma(kept).min() > 0.85 and sigma(kept).max() < 1.05
    assert loss(free, STRONG) < loss(soft, STRONG) < loss(kept, STRONG)


@pytest.mark.parametrize("scale", [0.98, 0.5])
@pytest.mark.parametrize("name", HOST_LOSSES)
def test_p9_a_scaled_identity_lowers_the_loss_and_predicts_no_better(
    name: str, scale: float
) -> None:
    loss, shrunk = HOST_LOSSES[name], scale * EYE
    assert loss(shrunk, STRONG) < loss(EYE, STRONG)
    x = samples_of(STRONG)[..., 0]

    def predicted(a: Tensor) -> Tensor:
        return x @ a.T @ regression(moment(a, STRONG)).T @ torch.linalg.inv(a).T

    torch.testing.assert_close(predicted(shrunk), predicted(EYE))
    torch.testing.assert_close(errors(shrunk, STRONG), scale**2 * errors(EYE, STRONG))
    # The same model at another noise level: SNR times scale^2.
    torch.testing.assert_close(
        noise_loss(shrunk, STRONG, 1 / scale**2), noise_loss(EYE, STRONG, 1.0)
    )


def residual(objective: str) -> Callable[[Tensor], Tensor]:
    """The package's objective with the best predictions from clean context and own noise."""
    config = basis_config(
        learned=True, objective=objective, residual_weight=1.0, energy_weight=1.0, snr_clip=0.0
    )
    x = samples_of(STRONG)

    def loss(a: Tensor) -> Tensor:
        y = torch.einsum("mn,bnd->bmd", a, x)
        # Noise of unit variance leaves the share 1 / (1 + s) of the context's error.
        share = 1 / (1 + errors(a, STRONG))
        context = torch.einsum("mn,bnd->bmd", regression(moment(a, STRONG)), y)
        error = share.sqrt()[:, None] * (context - y)
        if objective == "r3":
            error = error.detach()
        seen = Seen(x=x, y=y, error=error, snr=torch.ones(len(x), 9).double())
        host = torch.zeros(()).double()
        return total_loss(config, host, seen, a, torch.arange(9))[0]

    return loss


def test_p10_prediction_alone_is_r4_in_closed_form() -> None:
    a = rotation(9)
    torch.testing.assert_close(residual("r4")(a), prediction_loss(a, STRONG) / 45)
    torch.testing.assert_close(residual("r3")(a), energy(a, STRONG) / 45)


def test_p10_without_energy_the_order_is_reversed() -> None:
    """r4 puts energy last; r3, the energy part alone, puts it first, as the KLT does."""
    assert prediction_loss(BEST.flip(0), STRONG) < prediction_loss(EYE, STRONG)
    assert prediction_loss(EYE, STRONG) < prediction_loss(BEST, STRONG)
    reversed_ = descend(residual("r4"), EYE, 60, (1.0, 1.0), tangent=True)
    ordered = descend(residual("r3"), EYE, 60, (1.0, 1.0), tangent=True)
    assert mean_place(EYE, STRONG) == pytest.approx(4)
    assert mean_place(reversed_, STRONG) > 6 and mean_place(ordered, STRONG) < 2
    later = moment(reversed_, STRONG).diagonal()
    assert later[6:].sum() > 3 * later[:3].sum()


@pytest.mark.parametrize("start", [EYE, rotation(9, 1)])
def test_p4_descent_on_the_energy_part_ends_at_the_klt(start: Tensor) -> None:
    """In descending order, if Adam is given the part of the gradient that turns A."""
    a = descend(lambda a: energy(a, STRONG), start, 200, (1.0, 1.0), tangent=True)
    assert energy(a, STRONG) < 1.03 * energy(BEST, STRONG)
    v = moment(a, STRONG).diagonal()
    assert (a[0] @ BEST[0]).abs() > 0.999 and (v[:3].diff() < 0).all()


@pytest.mark.parametrize("start", [EYE, rotation(9, 1)])
def test_p4_adam_and_a_hard_projection_stall_before_the_klt(start: Tensor) -> None:
    """Adam rescales every entry, the projection undoes what does not turn A."""
    a = descend(lambda a: energy(a, STRONG), start, 150, (1.0, 1.0))
    assert energy(a, STRONG) > 1.5 * energy(BEST, STRONG)


def rotation_gradient(c: Tensor, detached: bool) -> Tensor:
    """Skew part of the noise loss's gradient at A = I, the model at its optimum.

    `detached` leaves the context as the only path to A, as MAR's code does.
    """
    p, share = regression(c), 1 / (1 + torch.linalg.cholesky(c).diagonal().square())
    a = torch.eye(len(c)).double().requires_grad_()
    own = a.detach() if detached else a
    # The model knows a token up to noise: error = share (y - P y_context) - (1 - share) noise.
    difference = own - p @ a
    loss = (share**2 * (difference @ c @ difference.T).diagonal()).sum()
    (gradient,) = torch.autograd.grad(loss, a)
    return (gradient - gradient.T) / 2


@pytest.mark.parametrize("field", [covariance(8), covariance(8, 0.5, 0.45)])
def test_p11_a_detached_target_turns_the_basis_against_its_gradient(field: Tensor) -> None:
    whole, kept = rotation_gradient(field, False), rotation_gradient(field, True)
    a = torch.eye(64).double().requires_grad_()
    (true,) = torch.autograd.grad(noise_loss(a, field), a)
    torch.testing.assert_close(whole, (true - true.T) / 2)  # the envelope theorem
    assert (whole * kept).sum() / whole.norm() / kept.norm() < -0.2


@pytest.mark.parametrize(
    ("name", "strong", "weak"),
    [
        ("raster", (1.490, 0.475), (0.215, 0.098)),
        ("xar", (1.412, 0.475), (0.221, 0.098)),
        ("par", (1.298, 0.0215), (0.183, 0.0)),
        ("haar", (0.492, 0.194), (0.050, 0.021)),
        ("dct", (0.0044, 0.0), (0.0034, 0.0)),
    ],
)
def test_p12_independent_heads_lose_what_a_basis_leaves_correlated(
    name: str, strong: tuple[float, float], weak: tuple[float, float]
) -> None:
    """Nats a token on 16 x 16 tokens: 4 steps of 64, and PAR's 4 of 1 and 63 of 4."""
    a = make(name, 16, 16).A
    for c, expected in ((covariance(16), strong), (covariance(16, 0.5, 0.45), weak)):
        lost = [parallel_loss(a, c, sizes) for sizes in ([64] * 4, [1] * 4 + [4] * 63)]
        assert lost == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("sizes", [[256], [64] * 4, [1] * 4 + [4] * 63])
def test_p12_the_klt_loses_nothing_with_any_steps(sizes: list[int]) -> None:
    c = covariance(16)
    assert parallel_loss(eigenbasis(c), c, sizes) == pytest.approx(0, abs=1e-9)
    assert parallel_loss(torch.eye(256).double(), c, [1] * 256) == pytest.approx(0, abs=1e-9)
