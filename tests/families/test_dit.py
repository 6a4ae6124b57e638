"""DiT: sizes, official files, samplers against closed forms, guidance, what BAR asks of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from yaml import safe_load

from builders import (
    basis_config,
    generator,
    model_config,
    order_config,
    sampler_config,
    token_spec,
    tokens,
)
from fixtures_at_hand import fixture_path
from nextbasis.config import section
from nextbasis.families import find
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.schedule import Schedule, linear_betas, space_steps
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.dit.config import DiTSamplerConfig, strided_steps
from nextbasis.families.dit.implicit import Predict
from nextbasis.families.dit.model import DiT
from nextbasis.official import (
    export_state,
    import_checkpoint,
    import_state,
    load_imported,
    official_name,
    save_imported,
)
from nextbasis.official.names import RASTER, official_shapes
from nextbasis.official.sizes import complete
from nextbasis.support.weights import read_checkpoint

GIVEN = {"num_heads": 4, "dropout": 0.0, "label_drop": 0.1}
LABELS = torch.tensor([0, 1, 2, 4])
# Numbers of the official tensors, with patches of side 2, 4 and 8.
PARAMETERS = {
    "dit_s2": (32_963_360, 32_945_024, 33_148_160),
    "dit_b2": (130_512_416, 130_475_648, 130_881_536),
    "dit_l2": (458_102_816, 458_053_760, 458_594_816),
    "dit_xl2": (675_129_632, 675_074_432, 675_683_072),
}


def paper(name: str, **changes: Any) -> Any:
    path = find("dit").recipes / f"model/paper/{name}.yaml"
    return section("model", safe_load(path.read_text(encoding="utf-8")) | changes)


def latents(side: int) -> TokenSpec:
    return TokenSpec.of_grid((side, side), channels=4, num_classes=1000)


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    content = json.loads(fixture_path(f"manifests/{name}.json").read_text(encoding="utf-8"))
    entries = content.get("tensors", content.get("state_dict", content))
    return {key: tuple(shape) for key, (shape, *_) in entries.items()}


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_have_the_official_numbers(name: str) -> None:
    for patch, count in zip((2, 4, 8), PARAMETERS[name], strict=True):
        with torch.device("meta"):
            model = build_backbone(paper(name, patch=patch), RASTER, latents(32))
        assert sum(tensor.numel() for tensor in model.state_dict().values()) == count


@pytest.mark.parametrize("pixels", [256, 512])
def test_the_released_models_have_exactly_the_official_tensors(pixels: int) -> None:
    official, released = manifest(f"dit_xl2_{pixels}"), paper("dit_xl2")
    assert official_shapes(released, latents(pixels // 8)) == official
    told = {"family": "dit", "num_heads": 16, "dropout": 0.0, "label_drop": 0.1}
    assert complete("dit", official, {}) == told


def weights() -> dict[str, Tensor]:
    found = load_file(fixture_path("dit_open.safetensors")).items()
    return {n.removeprefix("weights."): t for n, t in found if n.startswith("weights.")}


@pytest.mark.parametrize(("file", "source"), [("0000004.pt", "ema"), ("DiT-XL-2-64x64.pt", "flat")])
def test_official_files_are_read_and_written_back_to_the_bit(
    file: str, source: str, tmp_path: Path
) -> None:
    path = fixture_path(f"ckpt/dit_open/{file}")
    imported = import_checkpoint("dit", path, GIVEN)
    assert imported.source == source
    assert imported.spec == TokenSpec.of_grid((8, 8), channels=4, num_classes=10)
    official = read_checkpoint(path)[0]
    if source == "flat":
        expected = {n: t if n == "pos_embed" else 0.5 * t for n, t in weights().items()}
    else:
        trained = load_file(fixture_path("dit_open.safetensors")).items()
        expected = {n.removeprefix("train.ema."): t for n, t in trained if "train.ema." in n}
    assert all(torch.equal(official[name], tensor) for name, tensor in expected.items())
    save_imported(tmp_path / "out", imported, basis_config(), RASTER)
    again = export_state(load_imported(tmp_path / "out"))
    assert list(again) and set(again) == set(official)
    assert all(torch.equal(again[name], tensor) for name, tensor in official.items())


@pytest.mark.parametrize("name", ["pos_embed", "blocks.2.mlp.fc1.bias", "x_embedder.proj.weight"])
def test_a_missing_tensor_is_named(name: str) -> None:
    official = weights()
    del official[name]
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        import_state("dit", official, GIVEN)


def test_a_fresh_model_says_zero() -> None:
    torch.manual_seed(0)
    model = build_backbone(model_config("dit"), order_config(), token_spec("dit"))
    assert isinstance(model, DiT)
    draws = model.draw(4, 0.0, torch.Generator().manual_seed(0))
    loss = model.loss(tokens("dit"), LABELS, draws)
    assert loss.error is not None and torch.equal(loss.error, draws.noise)


class OfGaussian(DiT):
    """A DiT that knows the best prediction for tokens of a normal distribution."""

    mean, deviation = 0.7, 0.5

    def _predictor(self, labels: Tensor, sampler: DiTSamplerConfig) -> Predict:
        n = sampler.num_steps
        steps = space_steps(n) if sampler.solver == "ddpm" else strided_steps(n)
        schedule, variance = Schedule(steps, linear_betas).double(), self.deviation**2
        index = {step: i for i, step in enumerate(steps)}

        def predict(x: Tensor, step: int) -> tuple[Tensor, Tensor]:
            i = index[step]
            a, s = schedule.alpha_bar_sqrt[i], schedule.noise_sqrt[i]
            total = a**2 * variance + s**2
            eps = s * (x - a * self.mean) / total
            # Of the step before: that which x and the clean token leave, and the clean token's.
            left = (
                schedule.log_posterior[i].exp() + schedule.mean_x0[i] ** 2 * variance * s**2 / total
            )
            share = (left.log() - schedule.log_posterior[i]) / (
                schedule.log_beta[i] - schedule.log_posterior[i]
            )
            return eps.float(), torch.full_like(x, float(2 * share - 1))

        return predict


class Numbers(ImageNoise):
    """Random numbers of one stream, for many images."""

    def __init__(self, images: int) -> None:
        self.images, self.random = images, torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.images, *shape, generator=self.random)


def of_gaussian(solver: str, num_steps: int, images: int) -> tuple[Tensor, Tensor]:
    """Samples, and the noise that they began with."""
    model = OfGaussian(model_config("dit"), token_spec("dit"), order_config())
    sampler = sampler_config("dit", solver=solver, num_steps=num_steps)
    labels = torch.zeros(images, dtype=torch.long)
    return model.sample(labels, Numbers(images), sampler), Numbers(images).normal(16, 3)


@pytest.mark.parametrize("num_steps", [10, 50, 250])
def test_ancestral_samples_have_the_distribution_of_gaussian_data(num_steps: int) -> None:
    drawn, _ = of_gaussian("ddpm", num_steps, images=400)
    # The last step adds no noise: what is left of the data given its least noisy version.
    noise = 1e-4
    variance = OfGaussian.deviation**4 / (OfGaussian.deviation**2 + noise)
    error = 5 * OfGaussian.deviation / drawn.numel() ** 0.5
    assert abs(drawn.mean() - OfGaussian.mean) < error
    assert abs(drawn.std() - variance**0.5) < error


def test_implicit_samples_follow_the_closed_form_of_gaussian_data() -> None:
    """The exact flow keeps the quantile of every number."""
    drawn, noise = of_gaussian("ddim", 1000, images=2)
    expected = OfGaussian.mean + OfGaussian.deviation * noise
    assert (drawn - expected).abs().max() < 0.02
    few, _ = of_gaussian("ddim", 20, images=2)
    assert (few - drawn).abs().max() > (drawn - expected).abs().max()


@pytest.mark.parametrize("channels", [0, 2])
def test_guidance_acts_on_the_first_channels_only(channels: int) -> None:
    model = generator("dit").backbone.eval()
    assert isinstance(model, DiT)
    x = tokens("dit")
    with torch.no_grad():
        said = [
            torch.cat(model._predictor(labels, sampler_config("dit", **told))(x, 500), -1)
            for labels, told in (
                (LABELS, {"guidance": 4.0, "guided_channels": channels}),
                (LABELS, {"guidance": 1.0}),
                (torch.full_like(LABELS, model.null_label), {"guidance": 1.0}),
            )
        ]
    guided, plain, null = said
    first = channels or 3
    torch.testing.assert_close(guided[..., :first], (null + 4 * (plain - null))[..., :first])
    torch.testing.assert_close(guided[..., first:], plain[..., first:])
    assert not torch.allclose(guided[..., :first], plain[..., :first], atol=1e-2)


def test_no_more_channels_are_guided_than_there_are() -> None:
    made = generator("dit").eval()
    noise = ImageNoise(0, range(4), torch.device("cpu"))
    with pytest.raises(ValueError, match="guided_channels must be at most 3"):
        made.sample(LABELS, noise, sampler_config("dit", guided_channels=4))


@pytest.mark.parametrize(
    ("solver", "num_steps", "message"),
    [
        ("ddim", 300, r"must be such as a stride gives, 250 or 334, got 300"),
        ("ddpm", 1001, r"num_steps must lie in \[2, 1000\], got 1001"),
        ("euler", 10, "sampler.solver must be one of ddpm, ddim; got 'euler'"),
    ],
)
def test_wrong_samplers_are_refused(solver: str, num_steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler_config("dit", solver=solver, num_steps=num_steps)


def test_patches_must_fill_the_grid() -> None:
    with pytest.raises(ValueError, match="model.patch must divide both sides of the grid of 4 x 4"):
        generator("dit", patch=3)


def test_error_over_the_root_of_the_ratio_is_that_of_the_clean_token() -> None:
    """What BAR's objective takes the error for: e = sqrt(w) (yhat - y)."""
    model = generator("dit").backbone.eval()
    assert isinstance(model, DiT)
    y, draws = tokens("dit"), model.draw(4, 0.0, torch.Generator().manual_seed(0))
    draws.label_drop[:] = False
    loss = model.loss(y, LABELS, draws)
    assert loss.error is not None and loss.snr is not None
    noisy = model.noisy(y, draws)
    eps = model.net(noisy, model.condition(draws.step.float(), LABELS)).chunk(2, -1)[0]
    clean = model.schedule.predict_x0(noisy, model.steps(draws), eps)
    found = y + loss.error / loss.snr.sqrt()[..., None]
    torch.testing.assert_close(found, clean, atol=1e-3, rtol=1e-4)


def test_names_are_official_ones() -> None:
    names = {official_name("dit", name) for name in generator("dit").backbone.state_dict()}
    small = {name for name in manifest("dit_xl2_256") if not name.startswith("blocks.")}
    assert {name for name in names if not name.startswith("blocks.")} == small
