"""Scores against torch-fidelity; directions; independence of batches; protocol; bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from torch.utils.data import Dataset

from nextbasis.files import sha256, write_json
from nextbasis.metrics.extractor import Extractor, load_extractor, register
from nextbasis.metrics.features import extract
from nextbasis.metrics.quality import measure_quality
from nextbasis.metrics.reference import FILE, choose_subset
from nextbasis.metrics.score import score_images
from scoring import CPU, NUM_CLASSES, balanced, evaluation, pictures, write_reference


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference statistics of 400 pictures."""
    path, config = tmp_path_factory.mktemp("reference"), evaluation()
    images = pictures(400, seed=1)
    found = extract(images, load_extractor(config, CPU), 64, "reference")
    subset = choose_subset(balanced(400), NUM_CLASSES, config.num_reference, config.seed)
    write_reference(path, found.statistics, found.pooled[subset].numpy(), config)
    return path


class Images(Dataset):
    def __init__(self, images: np.ndarray) -> None:
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def test_scores_equal_torch_fidelitys_public_function(tmp_path: Path) -> None:
    register()
    config = evaluation(num_reference=400, is_splits=5)
    real, made = pictures(400, seed=1), pictures(300, seed=2, contrast=200)
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(made),
        input2=Images(real),
        feature_extractor="fashion128",
        fid=True,
        isc=True,
        prc=True,
        isc_splits=5,
        prc_neighborhood=3,
        rng_seed=config.seed,
        batch_size=50,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    found = extract(real, load_extractor(config, CPU), 64, "reference")
    write_reference(tmp_path, found.statistics, found.pooled.numpy(), config)
    ours = score_images(made, balanced(300), tmp_path, config, CPU)["values"]
    assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert ours["is_mean"] == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert ours["is_std"] == pytest.approx(theirs["inception_score_std"], rel=1e-6, abs=1e-7)
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)
    assert 0 < ours["precision"] < 1 and ours["precision"] != ours["recall"]


@pytest.mark.parametrize(
    ("spread", "precision", "recall"), [(0.01, "high", "low"), (6.0, "low", "high")]
)
def test_precision_and_recall_point_the_right_way(
    spread: float, precision: str, recall: str
) -> None:
    """A collapsed generator is precise and recalls little; a superset does the reverse."""
    generator = torch.Generator().manual_seed(10)
    real = torch.randn(500, 4, generator=generator)
    made = spread * torch.randn(500, 4, generator=generator)
    found = measure_quality(made, made, real, splits=2, neighbours=3, seed=0)
    for value, side in ((found.precision, precision), (found.recall, recall)):
        assert value > 0.8 if side == "high" else value < 0.2


def test_inception_score_has_its_known_extremes() -> None:
    real = torch.randn(40, 3, generator=torch.Generator().manual_seed(11))
    certain = 100.0 * torch.eye(4).repeat(10, 1)
    found = measure_quality(real, certain, real, splits=1, neighbours=3, seed=0)
    assert found.is_mean == pytest.approx(4.0)
    same = measure_quality(real, torch.zeros(40, 4), real, splits=1, neighbours=3, seed=0)
    assert same.is_mean == pytest.approx(1.0)


# score_images


def test_score_does_not_depend_on_the_batch_size(folder: Path) -> None:
    images, labels = pictures(200, seed=3), balanced(200)
    one, two = (
        score_images(images, labels, folder, evaluation(batch_size=size), CPU) for size in (200, 23)
    )
    assert one["protocol"] == two["protocol"]
    for name, value in one["values"].items():
        assert two["values"][name] == pytest.approx(value, rel=1e-5), name


def test_score_names_its_protocol(folder: Path) -> None:
    config = evaluation()
    found = score_images(pictures(200, seed=3), balanced(200), folder, config, CPU)
    values, protocol = found["values"], found["protocol"]
    assert values.keys() == {
        *("fid", "fid_se", "is_mean", "is_std", "precision", "recall", "accuracy")
    }
    assert protocol["num_images"] == 200 and protocol["per_class"] == {"min": 20, "max": 20}
    assert protocol["extractor_sha256"] == config.weights_sha256
    assert protocol["reference_sha256"] == sha256(folder / FILE)
    assert protocol["torch_fidelity"].startswith("0.4.") and protocol["duplicates"] == 0
    write_json(folder / "score.json", found)  # strict JSON: finite numbers, plain types


def score(
    folder: Path, images: np.ndarray, labels: np.ndarray | None = None, **changes: Any
) -> dict[str, Any]:
    labels = balanced(len(images)) if labels is None else labels
    return score_images(images, labels, folder, evaluation(**changes), CPU)


def test_bad_images_are_refused_before_any_feature(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Extractor, "features", lambda *_: pytest.fail("computed features"))
    good = pictures(200, seed=3)
    for images, message in (
        (good[:0], "there are 0 images"),
        (good[:10], "10 images are too few to score: needed are 20"),
        (good / np.float32(255), "must be uint8, got float32.*round"),
        (good[..., 0], r"must have shape \(N, H, W, C\)"),
        (good[:, :16, :16], r"\(16, 16, 1\), the reference has \(32, 32, 1\)"),
        (good.repeat(3, axis=3), r"\(32, 32, 3\), the reference has"),
    ):
        with pytest.raises(ValueError, match=message):
            score(folder, images)


def test_bad_labels_are_refused(folder: Path) -> None:
    images = pictures(200, seed=3)
    for labels, message in (
        (balanced(100), "one integer per image"),
        (balanced(200) / 2, "one integer per image"),
        (balanced(200) + 1, r"must lie in 0..9, got 1..10"),
    ):
        with pytest.raises(ValueError, match=message):
            score(folder, images, labels)


def test_features_that_are_not_finite_name_their_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Extractor.features

    def broken(self: Extractor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled, logits = original(self, images)
        pooled[3] = float("nan")
        return pooled, logits

    monkeypatch.setattr(Extractor, "features", broken)
    with pytest.raises(ValueError, match="1 images between 0 and 63 have features of fashion128"):
        score(folder, pictures(200, seed=3))


def test_identical_images_and_few_images_warn_and_are_recorded(folder: Path) -> None:
    same = pictures(1, seed=3).repeat(200, axis=0)
    with pytest.warns(UserWarning, match="zero variance"):
        found = score(folder, same)
    assert found["protocol"]["duplicates"] == 199
    with pytest.warns(UserWarning, match="100 images for 128 feature dimensions"):
        score(folder, pictures(100, seed=3))


def test_unbalanced_classes_warn_and_are_recorded(folder: Path) -> None:
    labels = balanced(200)
    labels[:5] = 9
    with pytest.warns(UserWarning, match="between 15 and 25"):
        found = score(folder, pictures(200, seed=3), labels)
    assert found["protocol"]["per_class"] == {"min": 15, "max": 25}


def test_fid_50k_protocol_is_refused_for_fewer_images(folder: Path) -> None:
    with pytest.raises(ValueError, match="protocol adm needs 50000 images, got 200"):
        score(folder, pictures(200, seed=3), protocol="adm")


def test_unknown_protocol_names_the_known_ones(folder: Path) -> None:
    with pytest.raises(ValueError, match="evaluation.protocol must be one of tiny.*got 'fid'"):
        score(folder, pictures(200, seed=3), protocol="fid")


def test_too_few_images_for_a_setting_name_it(folder: Path) -> None:
    with pytest.raises(ValueError, match="needed are 500 .*evaluation.is_splits"):
        score(folder, pictures(200, seed=3), is_splits=500)
    with pytest.raises(ValueError, match="200 images are too few"):
        score(folder, pictures(200, seed=3), neighbours=150)
