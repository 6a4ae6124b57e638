"""Inception with random weights: scores equal torch-fidelity's, and sFID reads what it should."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from benchmarks.scoring import Images, random_inception

from gpus import DEVICE, Gpu
from nextbasis.config import EvaluationConfig
from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.frechet import frechet_distance
from nextbasis.scoring.quality import precision_and_recall, radii
from nextbasis.scoring.rules import INCEPTION, PROTOCOLS, Rule, split
from nextbasis.support.files import sha256
from scoring import CPU, evaluation, pictures


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights in the layout of the real one."""
    return random_inception(tmp_path_factory.mktemp("inception") / "random.pth")


@pytest.fixture
def config(weights: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationConfig:
    monkeypatch.setitem(PROTOCOLS, "few", Rule(spatial=True))
    return evaluation(
        protocol="few",
        extractor=INCEPTION,
        weights=str(weights),
        weights_sha256=sha256(weights),
        is_splits=2,
    )


def colourful(count: int, seed: int, contrast: int = 255) -> np.ndarray:
    return np.concatenate([pictures(count, seed + part, contrast) for part in range(3)], axis=3)


@pytest.mark.slow
def test_scores_equal_torch_fidelitys_public_function(
    config: EvaluationConfig, weights: Path
) -> None:
    real, made = colourful(8, 1), colourful(6, 7, contrast=200)
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(made),
        input2=Images(real),
        feature_extractor=INCEPTION,
        feature_extractor_weights_path=str(weights),
        fid=True,
        isc=True,
        prc=True,
        isc_splits=2,
        rng_seed=config.seed,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    extractor = load_extractor(config, CPU)
    one = extract(made, extractor, 16, "made", split(len(made), config, from_file=False))
    two = extract(real, extractor, 16, "real")
    fid = frechet_distance(one.statistics, two.statistics)
    assert fid == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert one.inception.result() == pytest.approx(
        (theirs["inception_score_mean"], theirs["inception_score_std"]), rel=1e-6, abs=1e-7
    )
    quality = precision_and_recall(
        one.pooled, radii(one.pooled, 3), two.pooled, radii(two.pooled, 3)
    )
    assert quality == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_spatial_features_are_seven_channels_of_mixed_6_in_adms_order(
    config: EvaluationConfig,
) -> None:
    extractor = load_extractor(config, CPU)
    seen = []
    layer = extractor.network.get_submodule("Mixed_6d")
    layer.register_forward_hook(lambda _module, inputs, output: seen.append(output[:, :7]))
    extractor.features(torch.from_numpy(colourful(2, 3)).permute(0, 3, 1, 2))
    assert extractor.spatial is not None and extractor.spatial.shape == (2, 2023)
    # branch1x1 comes first in the block's output, so its channels are the block's first.
    for row, column, channel in ((0, 0, 0), (3, 5, 6), (16, 16, 2)):
        wanted = seen[0][:, channel, row, column]
        found = extractor.spatial[:, (row * 17 + column) * 7 + channel]
        torch.testing.assert_close(found, wanted)


def test_features_on_a_gpu_are_those_of_the_cpu(config: EvaluationConfig, gpu: Gpu) -> None:
    images = torch.from_numpy(colourful(2, 3)).permute(0, 3, 1, 2)
    extractor = load_extractor(config, CPU)
    here = (*extractor.features(images), extractor.spatial)
    with gpu(deterministic=True):
        extractor = load_extractor(config, DEVICE)
        there = (*extractor.features(images), extractor.spatial)
    for ours, theirs in zip(here, there, strict=True):
        assert ours is not None and theirs is not None and ours.std() > 0
        assert (theirs - ours).abs().max() <= gpu.rounding * 1e-4 * ours.abs().max()
