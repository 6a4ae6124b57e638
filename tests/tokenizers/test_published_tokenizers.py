"""KL-16 and MaskGIT-VQGAN as kinds of the pipeline: adapters, weights, moments, crops, training."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms import TenCrop

from builders import write_cache
from fixtures_at_hand import fixture_path
from gpus import Gpu
from networks import SMALL_CONFIGS
from nextbasis.config import (
    DatasetConfig,
    DatasetStage,
    SourceConfig,
    TokenizerStage,
    TokensStage,
    TrainStage,
    compose,
)
from nextbasis.config.data import VIEWS as VIEW_NAMES
from nextbasis.data.layout import TokenLayout
from nextbasis.data.tokens import TokenCache
from nextbasis.data.views import VIEWS, ten_crop
from nextbasis.parity.fixture import open_fixture
from nextbasis.sources.images import load_photo
from nextbasis.stages import dataset, tokenizer, tokens, train
from nextbasis.support.files import sha256, write_json
from nextbasis.tokenizers.common.loading import build, load_tokenizer
from nextbasis.tokenizers.common.pretrained import read_weights
from nextbasis.tokenizers.kinds import find, published
from nextbasis.tokenizers.kl16 import parity as kl16_parity
from nextbasis.tokenizers.kl16.model import KL16Tokenizer
from nextbasis.tokenizers.maskgit_vqgan import parity as vqgan_parity

CONFIG = Path(__file__).parents[2] / "config"
SIZE = 24  # pixels a side of the miniature's images; 26 where ten crops are cut
Published = Any  # KL16TokenizerConfig or MaskGITVQGANTokenizerConfig
LOSS = {"loss.logvar": torch.zeros(1), "loss.discriminator.weight": torch.zeros(2)}


def small(kind: str, weights: Path, **network: Any) -> Published:
    whole = SMALL_CONFIGS[kind]
    changes = {"weights": str(weights), "weights_sha256": "", "encode_batch_size": 5}
    return replace(whole, **changes, network=replace(whole.network, **network))


def random_state(config: Published, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return find(config.kind).part("model").NETWORK(config.network).state_dict()


@pytest.fixture(params=published())
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Published:
    """A small tokenizer whose weights are in a file."""
    config = small(request.param, tmp_path / "weights.safetensors")
    save_file(random_state(config), config.weights)
    return config


# Adapters, against outputs of the official networks


def test_kl16_gives_the_official_moments_and_images() -> None:
    fixture = open_fixture(fixture_path("kl16_open.safetensors"))
    config = small("kl16", fixture_path("ckpt/vae_open/kl16.ckpt"))
    config.network = kl16_parity.config_of(fixture.value("description", "config"))
    model = build(config, 32, 3)
    assert isinstance(model, KL16Tokenizer)
    model.network.load_state_dict(read_weights(config)[0])
    images = fixture["in.images"]

    def flat(name: str) -> Tensor:
        return rearrange(fixture[f"out.{name}"], "b d h w -> b (h w) d")

    near = {"rtol": 0.0, "atol": 1e-5 * fixture["out.moments"].abs().max().item()}
    torch.testing.assert_close(model.moments(images), flat("moments"), **near)
    torch.testing.assert_close(model.moments(images.flip(3)), flat("flip_moments"), **near)
    torch.testing.assert_close(model.encode(images), 0.2325 * flat("mean"), **near)
    decoded, expected = model.decode(flat("scaled_latents")), fixture["out.decoded"]
    torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_vqgan_gives_the_official_ids_and_images(tmp_path: Path) -> None:
    fixture = open_fixture(fixture_path("vqgan_open.safetensors"))
    config = small("maskgit_vqgan", tmp_path / "official.bin")
    config.network = vqgan_parity.config_of(fixture.value("config"))
    torch.save(fixture.part("weights."), config.weights)
    model = build(config, 32, 3)
    model.network.load_state_dict(read_weights(config)[0])
    assert torch.equal(model.encode(2 * fixture["in.images"] - 1), fixture["out.indices"])
    expected = 2 * fixture["out.decoded_from_codes_clamped"] - 1
    torch.testing.assert_close(model.decode(fixture["in.codes"]), expected, rtol=0, atol=6e-5)


# Weights


def test_weights_are_read_and_their_checksum_told(saved: Published) -> None:
    state, digest = read_weights(saved)
    assert digest == sha256(Path(saved.weights))
    assert read_weights(replace(saved, weights_sha256=digest))[1] == digest
    wanted = random_state(saved)
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())


def test_absent_weights_name_the_key_before_the_images_are_opened(
    saved: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no dataset either
    Path(saved.weights).unlink()
    config = TokenizerStage(reproducible=True, scale="toy", key="a", seed=0, tokenizer=saved)
    with pytest.raises(FileNotFoundError, match="tokenizer.weights: no file .*weights.safetensors"):
        tokenizer.main(config)


def test_weights_with_another_checksum_are_refused(saved: Published) -> None:
    with pytest.raises(ValueError, match="SHA-256 [0-9a-f]{64}, but tokenizer.weights_sha256 is 0"):
        read_weights(replace(saved, weights_sha256="0" * 64))


def test_every_tensor_that_does_not_fit_is_named(saved: Published) -> None:
    state = random_state(saved)
    del state["encoder.conv_in.weight"]
    state |= {"decoder.extra": torch.zeros(1), "decoder.conv_out.bias": torch.zeros(7)}
    save_file(state, saved.weights)
    with pytest.raises(ValueError) as caught:
        read_weights(saved)
    for part in (
        f"is no {saved.kind} of the sizes in tokenizer.network: 3 tensors do not fit",
        "missing: encoder.conv_in.weight",
        "unexpected: decoder.extra",
        "decoder.conv_out.bias has shape [7] instead of [3]",
    ):
        assert part in str(caught.value)


def test_parts_of_the_training_loss_are_left_out_and_listed(
    saved: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = random_state(saved)
    save_file(wanted | LOSS, saved.weights)
    assert read_weights(saved)[0].keys() == wanted.keys()
    printed = capsys.readouterr().out
    assert all(name in printed for name in LOSS)


def test_truncated_weights_are_refused(saved: Published) -> None:
    path = Path(saved.weights)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="weights.safetensors is not a complete safetensors file"):
        read_weights(saved)


def test_images_of_other_channels_are_refused(saved: Published) -> None:
    with pytest.raises(ValueError, match="image_channels is 3, but the dataset's images have 1"):
        build(saved, SIZE, 1)


# Moments


def moments_cache(folder: Path, moments: np.ndarray) -> TokenCache:
    """A cache of a single token an image, from moments (images, views, 2d)."""
    channels = moments.shape[2] // 2
    tokens, labels = moments[:, :, None].astype(np.float32), np.zeros(len(moments), np.int64)
    index = {"posterior": True, "mean": [0.0] * channels, "scale": [0.2325] * channels}
    write_cache(folder, tokens, labels, TokenLayout.of_grid((1, 1), channels=channels), **index)
    return TokenCache(folder)


def test_draws_have_the_posterior_s_mean_and_deviation_times_the_scale(tmp_path: Path) -> None:
    mean, logvar = np.array([-3.0, 0.5]), np.array([-2.0, 1.0])
    count = 100_000
    cache = moments_cache(tmp_path, np.tile(np.concatenate((mean, logvar)), (count, 1, 1)))
    draws = cache.draw(np.arange(count), torch.Generator().manual_seed(0))[:, 0].double().numpy()
    std = 0.2325 * np.exp(0.5 * logvar)
    assert np.abs((draws.mean(0) - 0.2325 * mean) / std * count**0.5).max() < 5
    assert np.abs((draws.std(0) / std - 1) * (2 * count) ** 0.5).max() < 5
    of_neighbours = np.corrcoef(np.hstack((draws[:-1], draws[1:])), rowvar=False)  # of two channels
    assert np.abs(of_neighbours - np.eye(4)).max() * count**0.5 < 5
    expected = cache.expected(every=count // 4)
    torch.testing.assert_close(expected, torch.tensor(0.2325 * mean).float().expand(4, 1, 2))


def test_draws_are_fresh_and_follow_the_generator(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 1, 8))
    rows[:, :, 4:] = 100  # a log-variance that is clamped to 20
    cache = moments_cache(tmp_path, rows)
    first, again = (torch.Generator().manual_seed(3) for _ in range(2))
    one, two = (cache.draw(np.arange(6), first) for _ in range(2))
    assert torch.equal(cache.draw(np.arange(6), again), one) and not torch.equal(one, two)
    assert one.abs().max() < 0.2325 * (10 * np.exp(10) + 10)


def test_views_are_drawn_uniformly(tmp_path: Path) -> None:
    moments = np.full((10_000, 10, 2), -30.0)  # no variance
    moments[:, :, 0] = np.arange(10)  # the mean tells the view
    cache = moments_cache(tmp_path, moments)
    drawn = cache.draw(np.arange(10_000), torch.Generator().manual_seed(0)) / 0.2325
    counts = np.bincount(drawn.flatten().round().int().numpy(), minlength=10)
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9  # chi-squared with 9 degrees, 1 in 1000


# Crops


@pytest.mark.parametrize(("height", "width", "size"), [(281, 281, 256), (11, 11, 10), (12, 15, 8)])
def test_ten_crops_are_torchvision_s(height: int, width: int, size: int) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    expected = TenCrop(size)(images)
    ours = ten_crop(images, size)
    assert len(ours) == len(expected) == VIEWS["ten_crop"].count
    assert all(torch.equal(*pair) for pair in zip(ours, expected, strict=True))


def test_ten_crops_of_256_are_cut_from_281_pixels() -> None:
    assert VIEWS["ten_crop"].side(256) == 281 and VIEWS["flip"].side(256) == 256


def test_nine_crops_are_tiles_that_overlap_evenly() -> None:
    """Of images 1.125 times as large: their first pixels lie at 0, half and all of the rest."""
    images = torch.arange(2 * 18 * 18).view(1, 2, 18, 18)
    assert VIEWS["nine_crop"].side(16) == 18 and VIEWS["nine_crop"].side(256) == 288
    crops = VIEWS["nine_crop"].cut(images, 16)
    tiles = images.unfold(2, 16, 1).unfold(3, 16, 1).flatten(2, 3)
    assert torch.equal(torch.stack(crops, 2), tiles) and VIEWS["nine_crop"].count == 9
    assert tuple(VIEWS) == VIEW_NAMES


# From photographs to a trained model


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetConfig:
    """A folder of photographs and what stage dataset makes of it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXTBASIS_DATA", raising=False)
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for name in ("n01", "n02"):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
                photo = Image.fromarray(pixels.repeat(4, 0).repeat(4, 1))
                photo.save(folder / f"{number}.png")
    config = DatasetConfig(
        name="toy",
        image_size=SIZE,
        channels=3,
        num_classes=2,
        num_test=0,
        sources=[SourceConfig(kind="image_folder", location="photos")],
        checksums={},
    )
    dataset.main(DatasetStage(reproducible=True, scale="toy", key="", dataset=config))
    return config


def make_tokens(config: Published, data: DatasetConfig, views: str) -> TokenCache:
    tokenizer.main(
        TokenizerStage(reproducible=True, scale="toy", key="a", seed=0, tokenizer=config)
    )
    stage = TokensStage(
        reproducible=True, scale="toy", key="a", dataset=data, views=views, shard_images=7
    )
    tokens.main(stage)
    return TokenCache(Path("results/toy/tokens/a"))


def views_of(cache: TokenCache, image: int) -> np.ndarray:
    return cache.tokens.take(np.full(cache.num_views, image), np.arange(cache.num_views))


def training(family: str, basis: str) -> TrainStage:
    choices = [f"model=small/{family}_b", f"train=tiny/{family}", f"basis={basis}", "order=raster"]
    budget = ["train.steps=6", "train.batch_size=4", "train.log_every=3"]
    names = ["scale=toy", "key=run", "tokens=a", "captions=classes", "train.checkpoint_minutes=0"]
    write_json(Path("results/toy/text/classes/index.json"), {"kind": "classes"})
    config = compose("train", names + choices + budget, CONFIG)
    assert isinstance(config, TrainStage)
    return config


def trained() -> bytes:
    return Path("results/toy/train/run/model.safetensors").read_bytes()


def killed_at(step: int) -> Callable[[train.Trainer], None]:
    advance = train.Trainer.advance

    def killed(trainer: train.Trainer) -> None:
        if trainer.step == step:
            raise KeyboardInterrupt
        advance(trainer)

    return killed


def test_kl16_from_photographs_to_a_model_that_resumes_to_the_bit(
    data: DatasetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("kl16", Path("weights.safetensors"))
    save_file(random_state(config), config.weights)
    cache = make_tokens(config, data, "flip")
    assert cache.posterior and cache.tokens.shape == (12, 2, 36, 8)
    model = load_tokenizer(Path("results/toy/tokenizer/a"))
    photo = load_photo(Path("photos/train/n02/1.png"), SIZE, 3)
    image = torch.tensor(photo).permute(2, 0, 1)[None] / 127.5 - 1
    moments = torch.cat((model.moments(image), model.moments(image.flip(3))))
    torch.testing.assert_close(torch.from_numpy(views_of(cache, 7)), moments)
    torch.testing.assert_close(cache.expected(every=7)[1:], model.encode(image))
    metrics = json.loads(Path("results/toy/tokenizer/a/metrics.json").read_text(encoding="utf-8"))
    assert metrics["weights_sha256"] == sha256(Path(config.weights)) and metrics["psnr"] > 0
    run = training("xar", "random")
    train.main(run)
    uninterrupted = trained()
    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "advance", killed_at(5))
        with pytest.raises(KeyboardInterrupt):
            train.main(run)
    train.main(run)
    assert trained() == uninterrupted


@pytest.mark.parametrize("kind", ["llamagen_vq", "sdvae"])
def test_tokens_are_those_of_photographs_and_their_mirror_images(
    kind: str, data: DatasetConfig
) -> None:
    config = small(kind, Path("weights.safetensors"))
    save_file(random_state(config), config.weights)
    cache = make_tokens(config, data, "flip")
    model: Any = load_tokenizer(Path("results/toy/tokenizer/a"))
    photo = load_photo(Path("photos/train/n02/1.png"), SIZE, 3)
    image = torch.tensor(photo).permute(2, 0, 1)[None] / 127.5 - 1
    both = torch.cat((image, image.flip(3)))
    assert cache.posterior == find(kind).posterior and cache.tokens.shape[:3] == (12, 2, 36)
    if cache.posterior:
        torch.testing.assert_close(torch.from_numpy(views_of(cache, 7)), model.moments(both))
    else:
        np.testing.assert_array_equal(views_of(cache, 7), model.encode(both))


def test_vqgan_from_ten_crops_of_photographs_to_a_model(data: DatasetConfig) -> None:
    config = small("maskgit_vqgan", Path("weights.safetensors"))
    save_file(random_state(config), config.weights)
    cache = make_tokens(config, data, "ten_crop")
    assert cache.index["views"] == "ten_crop" and cache.tokens.shape == (12, 10, 36)
    model = load_tokenizer(Path("results/toy/tokenizer/a"))
    photo = torch.tensor(load_photo(Path("photos/train/n01/5.png"), 26, 3)).permute(2, 0, 1)
    expected = model.encode(torch.stack(TenCrop(SIZE)(photo)) / 127.5 - 1)
    np.testing.assert_array_equal(views_of(cache, 5), expected)
    metrics = json.loads(Path("results/toy/tokenizer/a/metrics.json").read_text(encoding="utf-8"))
    assert 1 <= metrics["codes_used"] <= 32
    train.main(training("rar", "identity"))
    assert trained()


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(
    ("kind", "views", "family"), [("kl16", "flip", "xar"), ("maskgit_vqgan", "ten_crop", "rar")]
)
def test_tokens_and_a_resumed_model_made_on_a_gpu_are_those_of_the_cpu(
    kind: str,
    views: str,
    family: str,
    deterministic: bool,
    data: DatasetConfig,
    monkeypatch: pytest.MonkeyPatch,
    gpu: Gpu,
) -> None:
    config = small(kind, Path("weights.safetensors"))
    save_file(random_state(config), config.weights)

    def made() -> tuple[np.ndarray, dict[str, Tensor]]:
        cache = make_tokens(config, data, views)
        encoded = np.stack([views_of(cache, image) for image in range(len(cache.labels))])
        run = training(family, "identity")
        with monkeypatch.context() as patch:
            patch.setattr(train.Trainer, "advance", killed_at(5))
            with pytest.raises(KeyboardInterrupt):
                train.main(run)
        train.main(run)
        return encoded, load_file("results/toy/train/run/model.safetensors")

    encoded, weights = made()
    with gpu(deterministic):
        their_encoded, their_weights = made()
        metrics = json.loads(Path("results/toy/train/run/metrics.json").read_text(encoding="utf-8"))
    assert metrics["device"] == "cuda"
    if encoded.dtype.kind == "f":
        np.testing.assert_allclose(
            their_encoded, encoded, rtol=gpu.rounding * 1e-4, atol=gpu.rounding * 1e-5
        )
    else:
        assert (their_encoded == encoded).mean() > 0.99  # a tie may be broken otherwise
    assert weights.keys() == their_weights.keys()
    for name, value in weights.items():
        difference = (their_weights[name] - value).abs()
        # AdamW moves what has a gradient of rounding alone by its whole rate, in each of six steps.
        assert difference.max() <= 2 * 6 * 2e-3 and difference.double().mean() <= 1e-4, name


def test_ten_crops_of_other_photographs_are_refused(data: DatasetConfig) -> None:
    config = small("maskgit_vqgan", Path("weights.safetensors"))
    save_file(random_state(config), config.weights)
    make_tokens(config, data, "flip")
    Path("photos/train/n01/3.png").unlink()
    with pytest.raises(ValueError, match="dataset.sources hold other images than results/toy"):
        make_tokens(config, data, "ten_crop")


def test_unknown_views_are_named(data: DatasetConfig) -> None:
    with pytest.raises(
        ValueError, match="views must be one of single, flip, nine_crop, ten_crop; got 'five_crop'"
    ):
        TokensStage(
            reproducible=True, scale="toy", key="a", dataset=data, views="five_crop", shard_images=7
        )
