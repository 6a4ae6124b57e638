"""Sampling: balance, independence of batches, going on after a kill, errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from builders import sampler_config
from gpus import Gpu
from nextbasis.config import SampleStage
from nextbasis.stages import sample
from nextbasis.support.files import read_json, write_json
from small_run import save_small_run
from two_processes import in_two_processes

ROOT = Path(__file__).parents[2]
FOLDER = Path("results/test/sample/eval")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained xAR on patches of 8x8 images, as stages train and tokenizer leave it."""
    monkeypatch.chdir(tmp_path)
    save_small_run("test", "run")


def stage(**changes: Any) -> SampleStage:
    sampler = sampler_config("xar", **{"num_images": 20, "batch_size": 8} | changes)
    return SampleStage(
        reproducible=True, scale="test", key="eval", seed=0, run="run", sampler=sampler
    )


def samples() -> np.ndarray:
    return np.load(FOLDER / "samples.npy")


def test_classes_are_balanced_and_sorted_and_everything_is_written() -> None:
    sample.main(stage())
    labels = np.load(FOLDER / "labels.npy")
    assert labels.tolist() == sorted(labels.tolist())
    assert np.bincount(labels).tolist() == [4] * 5
    assert samples().shape == (20, 8, 8, 1) and samples().dtype == np.uint8
    assert samples().std() > 1
    with Image.open(FOLDER / "grid.png") as grid:
        assert grid.size[0] > 8
    speed = read_json(FOLDER / "speed.json")
    assert speed["images_per_second"] > 0 and speed["seconds_per_image"] > 0
    metrics = read_json(FOLDER / "metrics.json")
    assert (metrics["num_images"], metrics["weights"], metrics["rounding"]) == (20, "ema", "round")
    assert not [path for path in Path("scratch").rglob("*") if path.is_file()]


def test_images_do_not_depend_on_the_batch_size() -> None:
    sample.main(stage())
    one = samples()
    sample.main(stage(batch_size=3))
    difference = np.abs(one.astype(int) - samples().astype(int))
    assert difference.max() <= 1  # a rounding tie may fall the other way


def test_bfloat16_is_recorded_and_changes_images_little() -> None:
    sample.main(stage())
    exact = samples().astype(int)
    sample.main(stage(precision="bfloat16"))
    assert 0 < np.abs(samples().astype(int) - exact).mean() < 2
    assert read_json(FOLDER / "speed.json")["dtype"] == "bfloat16"
    assert read_json(FOLDER / "metrics.json")["dtype"] == "bfloat16"


@pytest.mark.parametrize(("precision", "deterministic"), [("float32", True), ("bfloat16", False)])
def test_images_made_on_a_gpu_are_those_of_the_cpu(
    precision: str, deterministic: bool, gpu: Gpu
) -> None:
    config = stage(precision=precision, num_images=10)
    sample.main(config)
    here = samples().astype(int)
    with gpu(deterministic):
        sample.main(config)
        assert read_json(FOLDER / "speed.json")["device"] == "cuda"
    difference = np.abs(samples().astype(int) - here)
    if precision == "float32":
        assert difference.max() <= 1  # a rounding tie may fall the other way
    assert difference.mean() <= 1


def test_a_killed_sampling_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    sample.main(stage())
    whole = samples()
    for path in FOLDER.iterdir():
        path.unlink()
    images, asked = sample.Sampler.images, []

    def killed(self: sample.Sampler, indices: range, labels: np.ndarray) -> np.ndarray:
        if indices.start == 16:
            raise KeyboardInterrupt
        return images(self, indices, labels)

    monkeypatch.setattr(sample.Sampler, "images", killed)
    with pytest.raises(KeyboardInterrupt):
        sample.main(stage())
    assert not (FOLDER / "samples.npy").exists()

    def noted(self: sample.Sampler, indices: range, labels: np.ndarray) -> np.ndarray:
        asked.append((indices.start, indices.stop))
        return images(self, indices, labels)

    monkeypatch.setattr(sample.Sampler, "images", noted)
    sample.main(stage())
    assert (16, 20) in asked and (0, 8) not in asked and (8, 16) not in asked
    assert np.array_equal(samples(), whole)


def test_bad_counts_families_and_missing_models_are_named() -> None:
    with pytest.raises(ValueError, match="num_images must be a multiple of the 5 classes, got 7"):
        sample.main(stage(num_images=7))
    config = stage()
    config.sampler = sampler_config("rar")
    with pytest.raises(ValueError, match=r"sampler.family=rar cannot sample a xar"):
        sample.main(config)
    Path("results/test/train/run/model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="run/model.safetensors"):
        sample.main(stage())


def test_a_run_that_was_imported_says_what_it_lacks() -> None:
    path = Path("results/test/train/run/config.json")
    trained = read_json(path)
    names = {name: trained.pop(name) for name in ("tokens", "captions")}
    write_json(path, trained | {"imported": "model_ema"})
    with pytest.raises(ValueError) as error:
        sample.main(stage())
    assert str(error.value) == (
        f"{path} has no tokens and no captions, as of a model that was imported and not trained "
        'here: add to it "tokens": the name of a folder in results/test/tokenizer and "captions": '
        "the name of a folder in results/test/text"
    )
    write_json(path, trained | {"imported": "model_ema"} | names)
    sample.main(stage())
    assert len(samples()) == 20


def test_images_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sample.Sampler(stage())
    with torch.no_grad():
        loaded.generator.backbone.pred.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="image 4 of eval is not finite"):
        loaded.images(range(4, 6), np.array([1, 1]))


def test_two_processes_sample_the_same_images() -> None:
    sample.main(stage())
    alone = samples()
    for path in FOLDER.iterdir():
        path.unlink()
    in_two_processes(stage(), "sampling")
    assert np.array_equal(samples(), alone)
    assert not list(Path("scratch").rglob("*.npy"))
