import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from nextbasis.families.common import flow
from nextbasis.families.common.ancestral import AncestralSampler
from nextbasis.families.common.categorical import (
    CategoricalHead,
    draw,
    filtered,
    power_cosine_guidance,
)
from nextbasis.families.common.diffusion import DiffusionHead
from nextbasis.families.common.schedule import (
    Schedule,
    cosine_alpha_bar,
    gaussian_kl,
    linear_betas,
    space_steps,
)


def test_schedule_posterior_equals_bayes_rule() -> None:
    """q(x_{t-1} | x_t, x_0) from the product of the two Gaussians it comes from."""
    steps = space_steps(50)
    schedule = Schedule(steps)
    alpha_bar = schedule.alpha_bar_sqrt.double() ** 2
    i = 20
    beta = 1 - alpha_bar[i] / alpha_bar[i - 1]
    precision = (1 - beta) / beta + 1 / (1 - alpha_bar[i - 1])
    x0, x_t = 0.7, -0.4
    mean = (1 - beta).sqrt() / beta * x_t + alpha_bar[i - 1].sqrt() / (1 - alpha_bar[i - 1]) * x0
    expected = mean / precision
    step = torch.tensor([i])
    got = schedule.posterior_mean(torch.tensor([[x0]]), torch.tensor([[x_t]]), step)
    assert math.isclose(got.item(), expected.item(), rel_tol=1e-4)
    assert math.isclose(schedule.log_posterior[i].exp().item(), 1 / precision.item(), rel_tol=1e-4)


def test_cosine_schedule_keeps_the_signal_then_loses_it() -> None:
    schedule = Schedule()
    expected = cosine_alpha_bar(0.5) / cosine_alpha_bar(0.0)
    assert math.isclose(schedule.alpha_bar_sqrt[499].item() ** 2, expected, rel_tol=1e-4)
    noise = torch.ones(1, 1)
    assert schedule.add_noise(torch.ones(1, 1), torch.tensor([999]), noise).item() < 1.001


def test_linear_schedule_multiplies_what_each_step_leaves() -> None:
    """The exact product, and the 4e-5 of the signal's variance that Ho et al. 2020 leave."""
    left = np.cumprod(1 - (1e-4 + (0.02 - 1e-4) * np.arange(1000) / 999))
    schedule = Schedule(space_steps(250), linear_betas)
    expected = left[schedule.original_step.numpy()]
    np.testing.assert_allclose(schedule.alpha_bar_sqrt.numpy() ** 2, expected, rtol=1e-5)
    assert 4.0e-5 < left[-1] < 4.1e-5


def test_space_steps_keeps_both_ends_and_refuses_too_many() -> None:
    assert space_steps(4) == [0, 333, 666, 999]
    with pytest.raises(ValueError, match=r"num_steps must lie in \[2, 1000\], got 1001"):
        space_steps(1001)


def test_gaussian_kl_equals_numerical_integral() -> None:
    x = np.linspace(-12, 12, 20001)
    p, q = norm.pdf(x, 0.3, 0.8), norm.pdf(x, -0.5, 1.3)
    expected = np.trapezoid(p * np.log(p / q), x)
    arguments = (torch.tensor(v) for v in (0.3, 2 * math.log(0.8), -0.5, 2 * math.log(1.3)))
    assert math.isclose(gaussian_kl(*arguments).item(), expected, rel_tol=1e-4)


def test_fresh_diffusion_head_predicts_zero_noise() -> None:
    head = DiffusionHead(3, 5, 8, 2)
    noise = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    rows = {"x0": torch.zeros(64, 3), "z": torch.randn(64, 5), "noise": noise[None]}
    _, error = head.loss(step=torch.arange(64)[None] * 15, **rows)
    assert torch.equal(error, noise[None])


def test_diffusion_sampling_finds_a_gaussian_with_the_exact_denoiser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the exact noise prediction for N(2, 0.5^2), samples have that mean and deviation."""
    sampler = AncestralSampler(DiffusionHead(1, 2, 4, 1), 100, temperature=1.0, clip=0.0)
    schedule = Schedule(space_steps(100))
    calls = iter(reversed(range(100)))

    def exact(x: torch.Tensor, *_: object) -> list[torch.Tensor]:
        i = next(calls)
        a, s = schedule.alpha_bar_sqrt[i], schedule.noise_sqrt[i]
        eps = s * (x - a * 2.0) / (a**2 * 0.25 + s**2)
        return [eps[None], -torch.ones_like(x)[None]]  # v = -1: the posterior's variance

    monkeypatch.setattr(sampler, "_net", exact)
    noise = torch.randn(100, 4000, 1, generator=torch.Generator().manual_seed(0))
    x = sampler(torch.zeros(1, 4000, 2), torch.tensor(1.0), noise)
    assert abs(x.mean().item() - 2.0) < 0.05
    assert abs(x.std().item() - 0.5) < 0.05


def test_euler_is_exact_for_a_straight_path() -> None:
    data, noise = torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    end = flow.euler(lambda z, t: noise - data, noise, flow.euler_times(3))
    torch.testing.assert_close(end, data)
    halfway = flow.interpolate(data, noise, torch.tensor([[0.5]]))
    torch.testing.assert_close(halfway, torch.tensor([[0.5]]))


def test_euler_maruyama_keeps_the_marginal_of_a_gaussian() -> None:
    """The exact velocity of N(1, 0.5^2) data leads noise to that distribution."""

    def velocity(z: torch.Tensor, t: float) -> torch.Tensor:
        variance = (1 - t) ** 2 * 0.25 + t**2
        centred = z - (1 - t)
        return (t - (1 - t) * 0.25) / variance * centred - 1

    random = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, 1, generator=random)
    times = flow.euler_maruyama_times(80)
    end = flow.euler_maruyama(
        velocity,
        noise,
        times,
        lambda: torch.randn(4000, 1, generator=random, dtype=torch.float64),
    )
    assert abs(end.mean().item() - 1) < 0.05
    assert abs(end.std().item() - 0.5) < 0.05


def test_draw_follows_the_softmax() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0]])
    uniform = torch.linspace(0, 1, 3000)[:-1]
    ids = draw(logits.expand(len(uniform), -1), 0.7, uniform)
    expected = torch.softmax(logits[0] / 0.7, 0)
    torch.testing.assert_close(ids.bincount() / len(uniform), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (3, 1.0), (0, 0.6), (5, 0.6), (9, 0.0)])
def test_filtered_keeps_the_likeliest_ids(top_k: int, top_p: float) -> None:
    """Against a list of ids by probability, from which each is taken while the sum is too small."""
    logits = 2 * torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    kept = filtered(logits, top_k, top_p)
    for row, found in zip(logits.double(), kept, strict=True):
        order = row.argsort(descending=True).tolist()[: top_k or None]
        probability = torch.softmax(row[order], 0)
        nucleus = [k for i, k in enumerate(order) if top_p == 1 or probability[:i].sum() <= top_p]
        assert found.isfinite().nonzero().flatten().tolist() == sorted(nucleus)
        assert torch.equal(found[nucleus], row[nucleus].float())


def test_guidance_grows_from_one_and_power_zero_is_constant() -> None:
    values = [power_cosine_guidance(5.0, 2.0, step, 10) for step in range(10)]
    assert values[0] == 1 and values == sorted(values) and values[-1] < 5
    assert power_cosine_guidance(5.0, 0.0, 0, 10) == pytest.approx(5.0)


def test_categorical_loss_of_a_uniform_head_is_log_of_its_size() -> None:
    head = CategoricalHead(4, 7)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    loss, _ = head.loss(torch.randn(2, 5, 4), torch.randint(7, (2, 5)))
    torch.testing.assert_close(loss, torch.full((2, 5), math.log(7)))
