from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from builders import basis_config, generator, tokens
from matrices import normal, random_matrix, rotation, seeded
from nextbasis.basis.objective import (
    Seen,
    energy_part,
    prediction_part,
    prefix_counts,
    prefix_error,
    snr_residual,
    total_loss,
)
from nextbasis.families.common.schedule import cosine_betas

STEPS = torch.tensor([0, 1, 1, 2, 2, 2])
LABELS = torch.tensor([0, 1, 2, 4])


def naive_prefix_error(x: Tensor, y_hat: Tensor, decoder: Tensor, step_of: Tensor) -> Tensor:
    """The sum as it is written: decode the first k steps, compare with the image."""
    total = torch.zeros(len(x), dtype=x.dtype)
    for k in range(int(step_of.max()) + 1):
        kept = y_hat * (step_of <= k)[:, None]
        total += (x - torch.einsum("nm,bmd->bnd", decoder, kept)).square().sum((1, 2))
    return total


@given(st.integers(2, 9), st.booleans(), st.integers(0, 100))
def test_prefix_error_equals_the_explicit_sum_for_any_matrix(
    n: int, inverse: bool, seed: int
) -> None:
    a = random_matrix(n, 0.3, 1.7, seed)
    decoder = torch.linalg.inv(a) if inverse else a.T
    x, y_hat = normal(2, 3, n, 2, seed=seed)
    step_of = torch.randint(2, (n,), generator=seeded(seed)).cumsum(0)
    step_of -= step_of[0].clone()
    for steps in (torch.arange(n), step_of):
        expected = naive_prefix_error(x, y_hat, decoder, steps)
        torch.testing.assert_close(prefix_error(x, y_hat, decoder, steps), expected)


def test_prefix_error_takes_the_decoder_of_a_frame() -> None:
    decoder, x, y_hat = normal(4, 7), normal(3, 4, 2), normal(3, 7, 2)
    expected = naive_prefix_error(x, y_hat, decoder, torch.arange(7))
    torch.testing.assert_close(prefix_error(x, y_hat, decoder, torch.arange(7)), expected)


def test_parts_are_weighted_by_the_prefixes_a_token_is_in() -> None:
    counts = prefix_counts(STEPS)
    assert counts.tolist() == [3, 2, 2, 1, 1, 1]
    assert prefix_counts(torch.arange(4)).tolist() == [4, 3, 2, 1]
    ones = torch.ones(1, 6, 2)
    assert prediction_part(ones, counts).item() == 2 * 10
    assert energy_part(ones, counts).item() == 2 * (0 + 1 + 1 + 2 + 2 + 2)


def seen_with(a: Tensor, share_level: bool = True) -> Seen:
    x, error = normal(2, 4, 6, 2)
    snr = normal(4, 6, seed=5).exp()
    snr = snr[:, :1].expand(4, 6) if share_level else snr
    return Seen(x=x, y=torch.einsum("mn,bnd->bmd", a, x), error=error, snr=snr)


def residual(seen: Seen, w: Tensor, decoder: Tensor, steps: Tensor) -> Tensor:
    """Mean of w sum_k |x - D M_k yhat|^2, per channel and prefix of a token."""
    y_hat = seen.y + seen.error / w.sqrt()[:, None, None]
    prefixes = sum(int((steps <= k).sum()) for k in range(int(steps.max()) + 1))
    return (w * naive_prefix_error(seen.x, y_hat, decoder, steps)).mean() / (2 * prefixes)


@pytest.mark.parametrize("objective", ["r0", "r0_inverse", "r2"])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_literal_objectives_are_the_written_sum(objective: str, share: float) -> None:
    a = random_matrix(6, 0.5, 1.5)
    seen = seen_with(a)
    config = basis_config(learned=True, objective=objective, residual_weight=share, snr_clip=0.0)
    value, notes = total_loss(config, torch.tensor(2.0).double(), seen, a, STEPS)
    decoder = torch.linalg.inv(a) if objective == "r0_inverse" else a.T
    steps = STEPS if objective == "r2" else torch.arange(6)
    expected = residual(seen, seen.snr[:, 0], decoder, steps)
    torch.testing.assert_close(value, (1 - share) * 2.0 + share * expected)
    torch.testing.assert_close(notes["residual_loss"], expected)


def test_noise_weight_is_the_mean_of_clipped_ratios() -> None:
    a = rotation(6)
    seen = seen_with(a, share_level=False)
    config = basis_config(learned=True, objective="r0", residual_weight=1.0, snr_clip=1.5)
    value = snr_residual(config, seen, a, torch.arange(6)).mean() / (2 * 21)
    expected = residual(seen, seen.snr.clamp(max=1.5).mean(1), a.T, torch.arange(6))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("objective", ["l_bar", "r1", "r3", "r4"])
def test_other_objectives_are_their_parts(objective: str) -> None:
    a, share, host = random_matrix(6, 0.5, 1.5), 0.3, torch.tensor(2.0).double()
    seen = seen_with(a, share_level=False)
    config = basis_config(
        learned=True, objective=objective, residual_weight=share, energy_weight=0.7
    )
    position = torch.arange(1, 7)
    prediction = ((7 - position) * seen.error.square().sum(2)).sum(1).mean() / (2 * 21)
    energy = ((position - 1) * seen.y.square().sum(2)).sum(1).mean() / (2 * 21)
    mixed = (1 - share) * host + share * prediction
    values = {"l_bar": host, "r1": mixed + 0.7 * energy, "r3": host + 0.7 * energy, "r4": mixed}
    value, notes = total_loss(config, host, seen, a, STEPS)
    torch.testing.assert_close(value, values[objective])
    told = {"l_bar": {}, "r4": {"residual_loss": prediction}}
    torch.testing.assert_close(notes, told.get(objective, {"energy_loss": energy}))


@pytest.mark.parametrize("objective", ["r0", "r2", "r4"])
def test_prediction_part_of_equal_errors_is_the_mean_squared_error(objective: str) -> None:
    """The scale: without energy, equal errors give the host's loss whatever the grouping."""
    a = rotation(6)
    seen = seen_with(a)
    seen = Seen(x=0 * seen.x, y=0 * seen.y, error=torch.full_like(seen.error, 0.5), snr=seen.snr)
    config = basis_config(learned=True, objective=objective, residual_weight=1.0)
    value, _ = total_loss(config, torch.tensor(9.0).double(), seen, a, STEPS)
    torch.testing.assert_close(value.item(), 0.25)


def learning(family: str, objective: str, **changes: Any) -> tuple[Any, Any]:
    """A generator with a learned rotation, and its loss."""
    config = basis_config(learned=True, objective=objective, energy_weight=0.7, **changes)
    made = generator(family, config)
    a = rotation(16).float()
    made.basis.set_start(a, a.T, torch.arange(16))
    draws = made.draw(4, 0.5, seeded())
    return made, made.loss(tokens(family), LABELS, draws)


@pytest.mark.parametrize("objective", ["r1", "r3"])
@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_energy_alone_trains_the_basis_of_r1_and_r3(family: str, objective: str) -> None:
    made, loss = learning(family, objective, regulariser=0.0)
    (gradient,) = torch.autograd.grad(loss.value, made.basis.structure.weight)
    a = made.basis.matrix().detach().requires_grad_()
    y = torch.einsum("mn,bnd->bmd", a, tokens(family)[:, made.host_order])
    energy = energy_part(y, torch.arange(16, 0, -1)).mean() / (3 * 136)
    (expected,) = torch.autograd.grad(0.7 * energy, a)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_detached_target_changes_the_gradient_of_the_basis_alone(family: str) -> None:
    values, of_basis, of_model = [], [], []
    for detach in (False, True):
        made, loss = learning(family, "l_bar", detach_target=detach)
        loss.value.backward()
        values.append(loss.value)
        of_basis.append(made.basis.structure.weight.grad)
        of_model.append([p.grad for p in made.backbone.parameters()])
    assert torch.equal(*values) and not torch.allclose(*of_basis)
    for whole, detached in zip(*of_model, strict=True):
        torch.testing.assert_close(whole, detached)


def seen_by(module: Any) -> tuple[list[Tensor], list[Tensor]]:
    """What a module is given and what it answers, as it happens."""
    given_, answered = [], []

    def note(_: Any, inputs: Any, output: Tensor) -> None:
        given_.append(inputs[0].detach())
        answered.append(output.detach())

    module.register_forward_hook(note)
    return given_, answered


def test_mar_error_over_the_root_of_the_ratio_is_that_of_the_clean_token() -> None:
    """yhat = (x_t - sqrt(1 - abar) eps) / sqrt(abar), by the schedule's own formula."""
    backbone = generator("mar").backbone
    noisy, _ = seen_by(backbone.head.input_proj)
    _, answers = seen_by(backbone.head.final_layer)
    y, draws = tokens("mar"), backbone.draw(4, 0.0, seeded())
    loss = backbone.loss(y, LABELS, draws)
    alpha_bar = torch.cumprod(1 - cosine_betas(), 0)[draws.step].flatten(0, 1)
    hidden = draws.order[:, : draws.num_hidden].sort(1).values.repeat(2, 1)
    for row in range(8):
        index = hidden[row]
        level = alpha_bar[row, index, None]
        eps = answers[0].chunk(2, -1)[0].view(8, len(index), 3)[row]
        y_hat = (noisy[0].view(8, len(index), 3)[row] - (1 - level).sqrt() * eps) / level.sqrt()
        told = y[row % 4, index] + loss.error[row, index] / loss.snr[row, index, None].sqrt()
        # The noisiest steps divide rounding by sqrt(abar).
        torch.testing.assert_close(told.double(), y_hat, atol=1e-3, rtol=1e-3)
        known = torch.ones(16, dtype=torch.bool).index_fill_(0, index, False)
        assert (loss.error[row, known] == 0).all()


def test_xar_error_over_the_root_of_the_ratio_is_that_of_the_clean_token() -> None:
    """yhat = y_t - t v, the straight line followed back to t = 0."""
    backbone = generator("xar").backbone
    noisy, _ = seen_by(backbone.z_proj)
    _, velocity = seen_by(backbone.pred)
    y, draws = tokens("xar"), backbone.draw(4, 0.0, seeded())
    loss = backbone.loss(y, LABELS, draws)
    t = draws.time.repeat_interleave(4, 1)[..., None]
    y_hat = noisy[0] - t * velocity[0]
    torch.testing.assert_close(y + loss.error / loss.snr[..., None].sqrt(), y_hat)
