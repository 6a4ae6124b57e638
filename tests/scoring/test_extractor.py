"""The feature extractors: shipped weights, torch-fidelity's registry, hashes, images in and out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch_fidelity.utils import create_feature_extractor

from nextbasis.config import EvaluationConfig, compose
from nextbasis.data.pictures import save_grid, to_uint8
from nextbasis.scoring.classifier import EMOJI, FASHION, SHAPES, Classifier, make_fast
from nextbasis.scoring.extractor import WEIGHTS, load_extractor
from nextbasis.scoring.fidelity import register
from nextbasis.stages.extractor import (
    GROUPS,
    RECIPES,
    Recipe,
    accuracy,
    augment,
    fit,
    load_data,
    targets,
)
from nextbasis.support.files import read_json, sha256, write_json

CPU = torch.device("cpu")
SHIPPED_WEIGHTS = WEIGHTS / "fashion128.safetensors"


def evaluation(*changes: str, name: str = "cpu") -> EvaluationConfig:
    config = compose("reference", [f"evaluation={name}", f"scale={name}", *changes])
    return config.evaluation


def images(count: int, size: int = 32, seed: int = 0, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, size, size)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def test_shipped_weights_are_those_of_the_config_and_of_the_record() -> None:
    record = read_json(SHIPPED_WEIGHTS.with_suffix(".json"))
    assert sha256(SHIPPED_WEIGHTS) == record["sha256"] == evaluation().weights_sha256
    assert evaluation(name="tiny").weights_sha256 == record["sha256"]
    assert record["test_accuracy"] > 0.91
    assert SHIPPED_WEIGHTS.stat().st_size < 600_000


def test_shipped_weights_of_emoji_are_those_of_the_config_and_of_the_record() -> None:
    path = WEIGHTS / "emoji128.safetensors"
    record, config = read_json(path.with_suffix(".json")), evaluation(name="emoji")
    assert Path(config.weights).samefile(path)
    assert sha256(path) == record["sha256"] == config.weights_sha256
    assert record["epochs"] == RECIPES[EMOJI].epochs
    assert record["test_accuracy"] > 0.7 and record["test_accuracy_of_new_emoji"] > 0.45
    assert path.stat().st_size < 1_000_000


def test_both_small_extractors_have_the_same_layers() -> None:
    """The names of shipped tensors are those that the files hold."""
    fashion, emoji = (load_file(WEIGHTS / f"{name}.safetensors") for name in (FASHION, EMOJI))
    assert fashion.keys() == emoji.keys() == Classifier(SHAPES[EMOJI]).state_dict().keys()
    assert emoji["body.0.0.weight"].shape == (32, 3, 3, 3)
    assert emoji["classify.weight"].shape == (99, 128)


def test_emoji_features_are_of_colour_images_of_64_pixels() -> None:
    extractor = load_extractor(evaluation(name="emoji"), CPU)
    pooled, logits = extractor.features(images(3, 64, channels=3))
    assert pooled.shape == (3, 128) and logits.shape == (3, 99) and extractor.dim == 128
    grey = images(3, 64).expand(3, 3, 64, 64)
    assert not torch.allclose(pooled, extractor.features(grey)[0])
    with pytest.raises(ValueError, match=r"emoji128 reads uint8 images of shape \(b, 3, h, w\)"):
        extractor.network(images(1, 64))
    register()
    network = create_feature_extractor("emoji128", ["128"], cuda=False, verbose=False)
    assert torch.equal(network(images(3, 64, channels=3))[0], pooled)
    assert network.get_dummy_input_for_compile().shape == (1, 3, 64, 64)


def test_features_have_128_numbers_and_ten_logits() -> None:
    extractor = load_extractor(evaluation(), CPU)
    pooled, logits = extractor.features(images(3))
    assert pooled.shape == (3, 128) and logits.shape == (3, 10)
    assert (pooled >= 0).all()  # mean of a ReLU
    network = extractor.network.classifier
    assert torch.allclose(network.classify(pooled), logits)


def test_features_of_an_image_do_not_depend_on_its_batch() -> None:
    extractor = load_extractor(evaluation(), CPU)
    together, _ = extractor.features(images(7))
    alone = torch.cat([extractor.features(image)[0] for image in images(7).split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_fast_network_computes_what_the_trained_one_does() -> None:
    trained = Classifier(SHAPES[FASHION])
    trained.load_state_dict(load_file(SHIPPED_WEIGHTS))
    with torch.no_grad():
        wanted = trained.eval()(images(9))
    for mine, plain in zip(
        load_extractor(evaluation(), CPU).features(images(9)), wanted, strict=True
    ):
        torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-6 * float(plain.abs().max()))


def test_only_normalisations_behind_a_convolution_are_folded() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5), nn.ReLU())
    for norm in (network[0], network[2]):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.1, 2.0)
        nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 6, 6)
    wanted = network.eval()(x)
    make_fast(network)
    assert [type(part).__name__ for part in network] == [
        "BatchNorm2d",
        "Conv2d",
        "Identity",
        "ReLU",
    ]
    torch.testing.assert_close(network(x), wanted)


def test_small_images_are_enlarged_bilinearly() -> None:
    extractor = load_extractor(evaluation(name="tiny"), CPU)
    flat = torch.full((1, 1, 8, 8), 77, dtype=torch.uint8)
    large = torch.full((1, 1, 32, 32), 77, dtype=torch.uint8)
    torch.testing.assert_close(extractor.features(flat)[0], extractor.features(large)[0])


def test_torch_fidelity_finds_the_extractor_and_registering_twice_is_harmless() -> None:
    register()
    register()
    network = create_feature_extractor("fashion128", ["logits", "128"], cuda=False, verbose=False)
    logits, pooled = network(images(2))
    mine = load_extractor(evaluation(), CPU).features(images(2))
    assert torch.equal(pooled, mine[0]) and torch.equal(logits, mine[1])
    assert network.get_default_feature_layer_for_metric("isc") == "logits"
    assert network.get_default_feature_layer_for_metric("prc") == "128"


@pytest.mark.parametrize("bad", [images(1).float(), images(1).expand(1, 3, 32, 32), images(1)[0]])
def test_extractor_refuses_anything_but_grey_bytes(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="fashion128 reads uint8 images"):
        load_extractor(evaluation(), CPU).network(bad)


def test_changed_weights_are_refused_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    data = bytearray(SHIPPED_WEIGHTS.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        load_extractor(evaluation(f"evaluation.weights={path}"), CPU)
    for part in (str(path), sha256(path), evaluation().weights_sha256):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_foreign_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    config = evaluation(f"evaluation.weights={path}", f"evaluation.weights_sha256={sha256(path)}")
    with pytest.raises(ValueError, match="does not hold weights of fashion128") as caught:
        load_extractor(config, CPU)
    assert "\n" not in str(caught.value)


def test_missing_inception_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    absent = tmp_path / "inception.pth"
    config = evaluation(f"evaluation.weights={absent}", name="imagenet256")
    with pytest.raises(FileNotFoundError, match="weights-inception-2015-12-05") as caught:
        load_extractor(config, CPU)
    assert str(absent) in str(caught.value) and "evaluation.weights=PATH" in str(caught.value)


def test_training_is_reproducible_and_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(26)
    patterns = torch.randint(256, (10, 1, 32, 32), generator=generator, dtype=torch.uint8)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        classifier = Classifier(SHAPES[FASHION])
        fit(
            classifier,
            patterns[labels],
            labels,
            torch.Generator().manual_seed(0),
            RECIPES[FASHION],
        )
        found.append(classifier.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    classifier.train()  # eight steps are too few for running averages; use those of the batch
    assert accuracy(classifier, patterns[labels], labels) > 0.9


def test_augmentation_flips_shifts_and_adds_noise_without_colour() -> None:
    batch = images(64, 8, channels=3)
    plain = Recipe(epochs=1, batch_size=64)
    flipped = augment(batch, torch.Generator().manual_seed(1), plain)
    is_flipped = (flipped == batch.flip(3)).flatten(1).all(1)
    assert (is_flipped | (flipped == batch).flatten(1).all(1)).all()
    assert 16 < is_flipped.sum() < 48
    shifted = augment(batch, torch.Generator().manual_seed(1), replace(plain, shift=2))
    at = [
        (top, left)
        for top in range(5)
        for left in range(5)
        if torch.equal(
            nn.functional.pad(flipped, (2,) * 4, value=255)[:, :, top : top + 8, left : left + 8],
            shifted,
        )
    ]
    assert len(at) == 1
    grey = torch.full((64, 3, 16, 16), 128, dtype=torch.uint8)
    noisy = augment(grey, torch.Generator().manual_seed(1), replace(plain, noise=8.0)).float()
    assert torch.equal(noisy[:, 0], noisy[:, 1]) and torch.equal(noisy[:, 0], noisy[:, 2])
    assert float(noisy.std()) == pytest.approx(8, rel=0.03)


def captioned(folder: Path, captions: list[str], size: int = 64) -> None:
    """A dataset of as many images, the last of them for testing, in results/emoji/dataset."""
    target = folder / "results/emoji/dataset"
    target.mkdir(parents=True)
    pixels = images(len(captions), size, channels=3).permute(0, 2, 3, 1).numpy()
    numbers = np.arange(len(captions))
    for split, part in (("train", slice(0, -2)), ("test", slice(-2, None))):
        np.save(target / f"{split}_images.npy", pixels[part])
        np.save(target / f"{split}_labels.npy", numbers[part])
    write_json(target / "captions.json", captions)
    digests = {path.name: sha256(path) for path in target.iterdir()}
    sizes = {"image_size": size, "channels": 3, "num_classes": len(captions), "sha256": digests}
    write_json(target / "index.json", sizes | {"num_train": len(captions) - 2, "num_test": 2})


def test_target_of_an_emoji_is_its_subcategory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toned = "waving hand sign: medium-dark skin tone"
    captioned(tmp_path, ["grinning face", "waving hand sign", "keycap: *", toned, "red apple"])
    data = load_data("emoji", EMOJI)
    classes, new = targets(data, EMOJI)
    names = [list(read_json(GROUPS))[number] for number in classes]
    assert names == [
        "Smileys & Emotion: face-smiling",
        "People & Body: hand-fingers-open",
        "Symbols: keycap",
        "People & Body: hand-fingers-open",
        "Food & Drink: food-fruit",
    ]
    assert new.tolist() == [False, True]  # the hand is known in yellow


@pytest.mark.parametrize(
    ("captions", "size", "message"),
    [
        (["grinning face", "red apple", "a photo of a cat"], 64, "'a photo of a cat' is no emoji"),
        (["grinning face"] * 3, 32, r"size and channels \(32, 3\); emoji128 is trained on \(64, 3"),
    ],
)
def test_other_images_than_emoji_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    captions: list[str],
    size: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    captioned(tmp_path, captions, size)
    with pytest.raises(ValueError, match=message):
        targets(load_data("emoji", EMOJI), EMOJI)


def test_groups_of_emoji_are_those_that_the_network_tells_apart() -> None:
    groups = read_json(GROUPS)
    assert len(groups) == SHAPES[EMOJI].num_classes == 99
    names = [name for each in groups.values() for name in each]
    assert len(names) == len(set(names)) == 1910


def test_bytes_round_truncate_and_clip() -> None:
    values = torch.tensor([-2.0, -1.0, -1 + 2.6 / 127.5, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 6)
    assert to_uint8(values, "round").flatten().tolist() == [0, 0, 3, 128, 255, 255]
    assert to_uint8(values, "truncate").flatten().tolist() == [0, 0, 2, 127, 255, 255]


def test_every_byte_survives_the_way_to_float_and_back() -> None:
    every = torch.arange(256).reshape(1, 1, 16, 16)
    assert np.array_equal(to_uint8(every / 127.5 - 1, "round"), every.numpy())


def test_bytes_refuse_nan_and_say_how_many() -> None:
    broken = torch.zeros(5, 1, 2, 2)
    broken[1, 0, 0, 0], broken[3] = float("nan"), float("inf")
    with pytest.raises(ValueError, match="2 of 5 images"):
        to_uint8(broken, "round")
    with pytest.raises(ValueError, match="rounding must be one of"):
        to_uint8(broken, "ceil")


def test_grid_places_pictures_row_by_row(tmp_path: Path) -> None:
    from PIL import Image

    shades = np.arange(5, dtype=np.uint8).repeat(16).reshape(5, 4, 4, 1) * 40
    save_grid(shades, tmp_path / "grid.png", columns=3)
    picture = np.asarray(Image.open(tmp_path / "grid.png"))
    factor = 64 // 4
    assert picture.shape == ((2 * 6 + 2) * factor, (3 * 6 + 2) * factor)
    assert picture[3 * factor, 3 * factor] == 0 and picture[3 * factor, 9 * factor] == 40
    assert picture[9 * factor, 3 * factor] == 120 and picture[9 * factor, 15 * factor] == 255
    with pytest.raises(ValueError, match="got 0 and 3"):
        save_grid(shades[:0], tmp_path / "grid.png", columns=3)
