"""Features and scores on a GPU, pretend or real, against the CPU."""

from pathlib import Path

import pytest
import torch

from gpus import DEVICE, Gpu
from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import extract
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
