"""Features and scores on a GPU, pretend or real, against the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gpus import DEVICE, Gpu
from nextbasis.scoring import brought
from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.paired import Samples, paired_distances
from nextbasis.scoring.reference import load_reference
from nextbasis.scoring.samples import from_array
from nextbasis.scoring.score import score_images
from scoring import CPU, balanced, evaluation, pictures, write_reference


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_score_is_that_of_the_cpu(deterministic: bool, tmp_path: Path, gpu: Gpu) -> None:
    config = evaluation()
    real = extract(from_array(pictures(200, 1)), load_extractor(config, CPU), 64, "real")
    write_reference(tmp_path, real.statistics, real.pooled.numpy(), config)
    reference = load_reference(tmp_path, config)
    images, labels = pictures(200, 2), balanced(200)
    here = score_images(images, labels, reference, config, CPU)
    with gpu(deterministic):
        there = score_images(images, labels, reference, config, DEVICE)
    assert here["values"].keys() == there["values"].keys()
    for name, value in here["values"].items():
        assert there["values"][name] == pytest.approx(value, rel=1e-3, abs=gpu.rounding * 1e-4), (
            name
        )
    assert here["protocol"]["device"] == "cpu" and there["protocol"]["device"] == "cuda"


def test_features_are_those_of_the_cpu(gpu: Gpu) -> None:
    config, source = evaluation(), from_array(pictures(70, 3))
    here = extract(source, load_extractor(config, CPU), 32, "here")
    with gpu(deterministic=True):
        there = extract(source, load_extractor(config, DEVICE), 32, "there")
    torch.testing.assert_close(there.pooled, here.pooled, rtol=1e-4, atol=gpu.rounding * 1e-4)
    assert (there.predicted == here.predicted).all()


def test_paired_distances_are_those_of_the_cpu(tmp_path: Path, gpu: Gpu) -> None:
    config, labels = evaluation(), balanced(200)
    real = extract(from_array(pictures(200, 1)), load_extractor(config, CPU), 64, "real")
    write_reference(tmp_path, real.statistics, real.pooled.numpy(), config)
    reference = load_reference(tmp_path, config)
    one = Samples(name="one", images=pictures(200, 2), labels=labels)
    two = Samples(name="two", images=pictures(200, 2) // 2, labels=labels)
    here = paired_distances(one, two, reference, config)
    with gpu(deterministic=True):
        there = paired_distances(one, two, reference, config)
    assert there == pytest.approx(here, rel=gpu.rounding * 1e-4) and min(here) > 0


@pytest.mark.parametrize("kind", ["images", "adm"])
def test_references_from_outside_are_those_of_the_cpu(kind: str, tmp_path: Path, gpu: Gpu) -> None:
    config, real = evaluation(), pictures(200, 1)
    stats = extract(from_array(real), load_extractor(config, CPU), 64, "real").statistics
    statistics = {"mu": stats.mu, "sigma": stats.sigma} if kind == "adm" else {}
    np.savez(tmp_path / "real.npz", arr_0=real, **statistics)  # type: ignore[arg-type]

    def made(name: str) -> dict[str, np.ndarray]:
        brought.make_reference(
            tmp_path / "real.npz", tmp_path / name, config, balanced(200), 10, "pictures"
        )
        with np.load(tmp_path / name / "statistics.npz") as file:
            return dict(file)

    here = made("here")
    with gpu(deterministic=True):
        there = made("there")
    assert {"mu", "sigma", "features", "radii"} <= here.keys() == there.keys()
    for name, array in here.items():
        difference = np.abs(there[name] - array).max()
        assert difference <= gpu.rounding * 1e-4 * np.abs(array).max(), name
