"""Scores against torch-fidelity; directions; independence of batches; protocol; bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from benchmarks.scoring import Images
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from nextbasis.scoring.extractor import Extractor, load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.fidelity import register
from nextbasis.scoring.protocol import check_images
from nextbasis.scoring.quality import kernel_distance, precision_and_recall, radii
from nextbasis.scoring.reference import FILE, choose_subset, load_reference
from nextbasis.scoring.rules import INCEPTION, split
from nextbasis.scoring.score import score_images
from nextbasis.scoring.statistics import RunningInception
from nextbasis.support.files import sha256, write_json
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
    ours = score_images(made, balanced(300), load_reference(tmp_path, config), config, CPU)[
        "values"
    ]
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
    found = precision_and_recall(made, radii(made, 3), real, radii(real, 3))
    for value, side in zip(found, (precision, recall), strict=True):
        assert value > 0.8 if side == "high" else value < 0.2


def test_neighbourhoods_need_more_images_than_neighbours() -> None:
    with pytest.raises(ValueError, match="evaluation.neighbours is 3: it needs more .* got 3"):
        radii(torch.zeros(3, 4), 3)


def test_part_of_an_inception_score_needs_an_image() -> None:
    with pytest.raises(ValueError, match="evaluation.is_splits is 2: each needs an image, got 0"):
        RunningInception(3, 2).result()


def inception(logits: torch.Tensor) -> tuple[float, float]:
    running = RunningInception(logits.shape[1], 1)
    running.update(logits, np.zeros(len(logits), np.int64))
    return running.result()


def test_inception_score_has_its_known_extremes() -> None:
    assert inception(1000.0 * torch.eye(4).repeat(10, 1))[0] == pytest.approx(4.0)
    assert inception(torch.zeros(40, 4))[0] == pytest.approx(1.0)


def test_streamed_inception_score_equals_torch_fidelitys() -> None:
    logits = 3 * torch.randn(103, 7, generator=torch.Generator().manual_seed(12))
    wanted = isc_features_to_metric(logits, splits=4, shuffle=True, rng_seed=2020)
    part = split(103, evaluation(is_splits=4), from_file=False)
    one, two = RunningInception(7, 4), RunningInception(7, 4)
    for start in range(0, 60, 8):
        one.update(logits[start : min(start + 8, 60)], part[start : min(start + 8, 60)])
    two.update(logits[60:], part[60:])
    one.merge(two)
    assert one.result() == pytest.approx(
        (wanted["inception_score_mean"], wanted["inception_score_std"]), rel=1e-12
    )


def test_kid_of_all_pairs_equals_torch_fidelitys_of_one_whole_subset() -> None:
    generator = torch.Generator().manual_seed(13)
    made, real = (torch.randn(150, 16, generator=generator) * scale for scale in (1.0, 1.3))
    wanted = kid_features_to_metric(
        made,
        real,
        kid_subsets=1,
        kid_subset_size=150,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=0,
        verbose=False,
    )
    found = kernel_distance(made, real)
    assert found == pytest.approx(wanted["kernel_inception_distance_mean"], rel=1e-4)
    with pytest.raises(ValueError, match="KID needs 2 images"):
        kernel_distance(made[:1], real)


# score_images


def test_score_does_not_depend_on_the_batch_size(folder: Path) -> None:
    images, labels = pictures(200, seed=3), balanced(200)
    one, two = (score(folder, images, labels, batch_size=size) for size in (200, 23))
    assert one["protocol"] == two["protocol"]
    for name, value in one["values"].items():
        assert two["values"][name] == pytest.approx(value, rel=1e-5), name


def test_score_names_its_protocol(folder: Path) -> None:
    config = evaluation()
    found = score(folder, pictures(200, seed=3))
    values, protocol = found["values"], found["protocol"]
    assert values.keys() == {
        *("fid", "fid_se", "fid_extrapolated", "is_mean", "is_std"),
        *("precision", "recall", "kid", "accuracy"),
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
    index = {"neighbours", "num_reference", "seed"} & changes.keys()
    reference = load_reference(folder, evaluation(**{"x": 0} if index else changes))
    return score_images(images, labels, reference, evaluation(**changes), CPU)


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


def test_fid_50k_protocol_is_refused_for_fewer_images() -> None:
    with pytest.raises(ValueError, match="protocol adm needs 50000 images, got 200"):
        settings = {"extractor": INCEPTION, "num_reference": 10_000}
        check_images(pictures(200, seed=3), None, evaluation(protocol="adm", **settings), 10)


def test_unknown_protocol_names_the_known_ones(folder: Path) -> None:
    with pytest.raises(ValueError, match="evaluation.protocol must be one of tiny.*got 'fid'"):
        score(folder, pictures(200, seed=3), protocol="fid")


def test_too_few_images_for_a_setting_name_it(folder: Path) -> None:
    with pytest.raises(ValueError, match="needed are 500 .*evaluation.is_splits"):
        score(folder, pictures(200, seed=3), is_splits=500)
    with pytest.raises(ValueError, match="200 images are too few"):
        score(folder, pictures(200, seed=3), neighbours=150)
