"""MDTv2: both passes, what is hidden from them, relative positions, guidance by closed forms."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from builders import (
    basis_config,
    generator,
    model_config,
    order_config,
    sampler_config,
    token_spec,
    tokens,
)
from nextbasis.families.common.execution import precision, recompute_blocks
from nextbasis.families.common.generator import build
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.mdtv2.block import RelativeAttention
from nextbasis.families.mdtv2.model import MDTv2, displacements, guidance_at, kept_patches

LABELS = torch.tensor([0, 1, 2, 4])


def network(**changes: Any) -> MDTv2:
    made = generator("mdtv2", **changes).backbone
    assert isinstance(made, MDTv2)
    return made.eval()


def said(model: MDTv2, kept: torch.Tensor | None = None) -> torch.Tensor:
    y = model.condition(torch.tensor([0.0, 10.0, 500.0, 999.0]), LABELS)
    return model.net(tokens("mdtv2"), y, kept=kept)


def sampled(model: MDTv2, **changes: Any) -> torch.Tensor:
    noise = ImageNoise(0, range(4), torch.device("cpu"))
    return model.sample(LABELS, noise, sampler_config("mdtv2", **changes))


@pytest.mark.parametrize("patch", [1, 2])
def test_a_masked_pass_that_hides_nothing_is_the_plain_pass(patch: int) -> None:
    """In whatever order patches are kept; the side block's guesses are not used."""
    model = network(patch=patch)
    places = torch.rand(4, 16 // patch**2, generator=torch.Generator().manual_seed(0)).argsort(1)
    torch.testing.assert_close(said(model, places), said(model), rtol=1e-4, atol=1e-5)


def test_at_a_mask_ratio_of_0_both_losses_are_the_same() -> None:
    model = network(mask_ratio=0.0, mask_spread=0.0, patch=1)
    draws = model.draw(4, 0.0, torch.Generator().manual_seed(0))
    assert draws.kept.shape == (4, 16)
    same = replace(
        draws,
        noise=draws.noise[:1].expand(2, -1, -1, -1),
        label_drop=draws.label_drop[:1].expand(2, -1),
    )
    loss = model.loss(tokens("mdtv2"), LABELS, same)
    once, again = loss.error.chunk(2)
    torch.testing.assert_close(once, again, rtol=1e-4, atol=1e-5)
    _, mse, bound = model.denoise(tokens("mdtv2"), LABELS, same, masked=False)
    torch.testing.assert_close(loss.value, 2 * (mse + bound).mean(), rtol=1e-4, atol=1e-5)


def test_hidden_patches_are_guessed_and_shown_to_the_decoder_only() -> None:
    """The side block changes all that is said of a masked image; the encoder sees kept patches."""
    model = network(patch=1)
    kept = torch.arange(10).expand(4, -1)
    whole, masked = said(model), said(model, kept)
    with torch.no_grad():
        for parameter in (*model.side_blocks.parameters(), model.mask_token):
            parameter.add_(1.0)
    assert torch.equal(said(model), whole)
    assert not torch.allclose(said(model, kept), masked)
    noisy = tokens("mdtv2").clone()
    noisy[:, 10:] += 1.0
    y = model.condition(torch.zeros(4), LABELS)
    seen = [model.embed(x)[:, :10] for x in (tokens("mdtv2"), noisy)]
    encoded = [model._encoded(h, y, None, kept) for h in seen]
    assert torch.equal(*encoded)
    assert not torch.allclose(model.net(noisy, y, kept=kept)[:, :10], said(model, kept)[:, :10])


def test_sampling_needs_no_side_block() -> None:
    model = network()
    drawn = sampled(model)
    with torch.no_grad():
        for parameter in (*model.side_blocks.parameters(), model.mask_token):
            parameter.fill_(math.nan)
    assert torch.equal(sampled(model), drawn)


def test_displacements_count_rows_and_columns() -> None:
    rows, columns = 2, 3
    found = displacements(rows, columns)[0]
    for i in range(rows * columns):
        for j in range(rows * columns):
            down, right = i // columns - j // columns, i % columns - j % columns
            expected = (down + rows - 1) * (2 * columns - 1) + right + columns - 1
            assert found[i, j] == expected


def test_attention_with_and_without_gradients_is_the_same() -> None:
    torch.manual_seed(0)
    attention, x = RelativeAttention(16, 2, 0.0, (2, 3)), torch.randn(2, 6, 16)
    apart = displacements(2, 3)
    explicit = attention.among(x, apart)
    with torch.no_grad():
        fused = attention.among(x, apart)
        torch.testing.assert_close(fused, explicit.detach())
        attention.relative_bias[:-3] += 1.0  # the same for all: no change
        torch.testing.assert_close(attention.among(x, apart), fused)
        attention.relative_bias[0] += 1.0
        assert not torch.allclose(attention.among(x, apart), fused)


@pytest.mark.parametrize("power", [0.5, 1.0, 4.0])
def test_guidance_is_a_cosine_of_a_power_of_time(power: float) -> None:
    sampler = sampler_config("mdtv2", guidance=3.8, guidance_power=power)
    assert guidance_at(sampler, 0) == pytest.approx(3.8)
    half = round(1000 * (1 - 0.5 ** (1 / power)))  # where the power of what is left is one half
    assert guidance_at(sampler, half) == pytest.approx((1 + 3.8) / 2, abs=5e-3)
    curve = [guidance_at(sampler, step) for step in range(1000)]
    assert curve == sorted(curve, reverse=True) and curve[-1] >= 1


def test_guidance_of_published_steps() -> None:
    sampler = sampler_config("mdtv2", guidance=3.8, guidance_power=4.0)
    published = {999: 1.00, 600: 1.005, 500: 1.03, 400: 1.11, 300: 1.38, 200: 2.01, 100: 3.06}
    for step, guidance in published.items():
        assert guidance_at(sampler, step) == pytest.approx(guidance, abs=6e-3)
    nearly = sampler_config("mdtv2", guidance=4.0, guidance_power=0.01)
    assert all(guidance_at(nearly, step) > 3.98 for step in range(990))


def test_guidance_1_is_none() -> None:
    model = network()
    assert torch.equal(
        sampled(model, guidance=1.0), sampled(model, guidance=1.0, guided_channels=1)
    )
    assert not torch.allclose(sampled(model), sampled(model, guided_channels=1))


def test_weights_are_bounded_by_min_snr() -> None:
    model = network(snr_bound=5.0)
    ratio = torch.tensor([0.1, 5.0, 10.0, 500.0])
    torch.testing.assert_close(model.weight(ratio), torch.tensor([1.0, 1.0, 0.5, 0.01]))


def test_as_many_patches_are_kept_as_the_share_says() -> None:
    config = model_config("mdtv2", mask_ratio=0.3, mask_spread=0.2)
    uniform = torch.rand(3, 256, generator=torch.Generator().manual_seed(0))
    for share, count in ((0.0, 179), (0.5, 153), (1.0, 128)):
        kept = kept_patches(config, torch.tensor(share), uniform)
        assert kept.shape == (3, count)
        worst = uniform.gather(1, kept).max(1).values
        assert ((uniform <= worst[:, None]).sum(1) == count).all()


def test_errors_and_ratios_of_both_passes_are_told() -> None:
    """BAR's objective takes them: an error over the root of its ratio is one of the token."""
    model = network()
    x, draws = tokens("mdtv2"), model.draw(4, 0.0, torch.Generator().manual_seed(0))
    loss = model.loss(x, LABELS, draws)
    assert loss.error.shape == (8, 16, 3) and loss.snr.shape == (8, 16)
    step = draws.step.repeat(2)
    noise = draws.noise.flatten(0, 1)
    noisy = model.schedule.add_noise(x.repeat(2, 1, 1).flatten(1), step, noise.flatten(1))
    eps = (noise - loss.error).flatten(1)
    clean = model.schedule.predict_x0(noisy, step, eps).view_as(noise)
    error = (clean - x.repeat(2, 1, 1)) * loss.snr.sqrt()[..., None]
    torch.testing.assert_close(error, loss.error, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("objective", ["l_bar", "r0", "r1"])
def test_a_basis_is_trained_with_it(objective: str) -> None:
    made = generator("mdtv2", basis_config(learned=True, objective=objective))
    draws = made.draw(4, 0.0, torch.Generator().manual_seed(0))
    made.loss(tokens("mdtv2"), LABELS, draws).value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    assert any(p.grad.any() for p in made.basis.parameters())


def test_a_fresh_network_says_nothing() -> None:
    torch.manual_seed(0)
    made = build(model_config("mdtv2"), basis_config(), order_config(), token_spec("mdtv2"))
    assert not said(made.backbone).any()
    draws = made.draw(4, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(made.loss(tokens("mdtv2"), LABELS, draws).error, draws.noise.flatten(0, 1))


def test_recomputing_changes_no_bit_and_bfloat16_few() -> None:
    def step(name: str = "float32", recompute: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        made = generator("mdtv2", dropout=0.0 if name == "bfloat16" else 0.1).train()
        if recompute:
            recompute_blocks(made.backbone)
        draws = made.draw(4, 0.0, torch.Generator().manual_seed(0))
        torch.manual_seed(0)  # of dropout
        with precision(name, torch.device("cpu")):
            loss = made.loss(tokens("mdtv2"), LABELS, draws).value
        loss.backward()
        found = [p.grad.flatten() for p in made.parameters() if p.grad is not None]
        return loss.detach(), torch.cat(found)

    for ours, theirs in zip(step(recompute=True), step(), strict=True):
        assert torch.equal(ours, theirs)
    made = generator("mdtv2")
    exact = sampled(made.backbone.eval())
    with precision("bfloat16", torch.device("cpu")):
        rounded = sampled(made.backbone)
    assert rounded.dtype == torch.float32 and step("bfloat16")[1].isfinite().all()
    assert 0 < (rounded - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 4}, r"depth - model.decoder_depth must be even and above 0.*got 4 - 1"),
        ({"decoder_depth": 3}, r"must be even and above 0.*got 3 - 3"),
        ({"mask_ratio": 0.8}, r"mask_ratio \+ model.mask_spread must be below 1.*got 0.8 \+ 0.2"),
        ({"snr_bound": 0.0}, "model.snr_bound must be above 0, got 0.0"),
        ({"width": 18}, "model.width must be a multiple of 4"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_config("mdtv2", **changes)


def test_impossible_samplers_are_refused() -> None:
    with pytest.raises(ValueError, match="sampler.guidance_power must be above 0, got 0.0"):
        sampler_config("mdtv2", guidance_power=0.0)
    with pytest.raises(ValueError, match="sampler.num_steps must be at least 2, got 1"):
        sampler_config("mdtv2", num_steps=1)
    with pytest.raises(ValueError, match="guided_channels must be at most 3.*got 4"):
        sampled(network(), guided_channels=4)
    with pytest.raises(ValueError, match="model.patch must divide both sides"):
        network(patch=3)
