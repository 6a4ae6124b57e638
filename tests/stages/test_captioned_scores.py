"""Scores where labels are numbers of captions: one class for balance and errors, and retrieval."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from command import ROOT
from gpus import Gpu
from nextbasis.config import EvaluationConfig, ReferenceStage, compose
from nextbasis.scoring.protocol import CAPTIONS, check_images, count_classes
from nextbasis.scoring.reference import load_reference
from nextbasis.scoring.retrieval import NOWHERE, Gallery, describe_retrieval, ranks, retrieval
from nextbasis.scoring.rules import PROTOCOLS, as_classes, find_rule
from nextbasis.scoring.score import score_images
from nextbasis.stages import reference
from nextbasis.support.files import read_json, result_folder, sha256, write_json
from nextbasis.support.provenance import device
from scoring import CPU, evaluation, pictures

TRAIN, TEST = 160, 40  # images of the made-up dataset, each of a caption of its own


@pytest.fixture(autouse=True)
def captioned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A captioned protocol for grey images, so that fashion128 can score them."""
    rule = replace(PROTOCOLS["emoji-v1"], settings={})
    monkeypatch.setitem(PROTOCOLS, "grey", rule)
    monkeypatch.setitem(PROTOCOLS, "grey-on-test", replace(rule, on_test=True, num_images=100))


def config(protocol: str = "grey") -> EvaluationConfig:
    return evaluation(protocol=protocol, num_reference=37, is_splits=2)


def gallery(features: np.ndarray, labels: Any) -> Gallery:
    return Gallery(features=torch.from_numpy(features), labels=np.asarray(labels, np.int64))


def test_retrieval_is_that_of_nearest_neighbours_found_otherwise() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(60, 8)).astype(np.float32)
    labels = random.integers(0, 40, 60)  # some captions have several images, some none
    wanted = random.integers(0, 40, 1300)  # more than one block
    noise = 1.2 * random.normal(size=(1300, 8))
    made = (real[random.integers(0, 60, 1300)] + noise).astype(np.float32)
    known = np.isin(wanted, labels)
    assert 0 < known.sum() < len(known)
    nearest = NearestNeighbors(n_neighbors=5, algorithm="kd_tree").fit(real)
    hits = labels[nearest.kneighbors(made, return_distance=False)] == wanted[:, None]
    found = retrieval(torch.from_numpy(made), wanted, gallery(real, labels))
    assert found["retrieval"] == pytest.approx(hits[known, 0].mean())
    assert found["retrieval_top5"] == pytest.approx(hits[known].any(1).mean())
    assert 0 < found["retrieval"] < found["retrieval_top5"] < 1


def test_ranks_count_the_nearer_images_of_other_captions() -> None:
    random = np.random.default_rng(1)
    real, made = random.normal(size=(30, 4)), random.normal(size=(20, 4))
    labels, wanted = np.arange(30) % 13, np.arange(20)  # 13 to 19 have no image
    distance = cdist(made.astype(np.float32), real.astype(np.float32))
    found = ranks(torch.from_numpy(made).float(), wanted, gallery(real.astype(np.float32), labels))
    for image, label in enumerate(wanted):
        own = distance[image, labels == label]
        nearer = (distance[image, labels != label] < own.min()).sum() if len(own) else NOWHERE
        assert found[image] == nearer


@given(st.integers(2, 9), st.integers(0, 2**31))
def test_images_that_all_look_alike_find_nothing(count: int, seed: int) -> None:
    one = np.random.default_rng(seed).normal(size=(1, 5)).astype(np.float32)
    same = gallery(np.repeat(one, count, 0), np.arange(count))
    found = ranks(same.features, np.arange(count), same)
    assert (found == count - 1).all()


def test_the_same_image_of_another_caption_is_a_tie_and_of_the_own_caption_none() -> None:
    real = np.float32([[0, 0], [0, 0], [5, 0], [5, 0]])
    test = gallery(real, [0, 1, 2, 2])
    assert ranks(test.features, test.labels, test).tolist() == [1, 1, 0, 0]
    assert retrieval(test.features, test.labels, test)["retrieval"] == 0.5


def test_retrieval_without_known_captions_has_no_value() -> None:
    test = gallery(np.eye(3, dtype=np.float32), [0, 1, 2])
    assert retrieval(test.features, np.array([3, 4, 5]), test) == {}
    assert describe_retrieval(np.array([3]), test)["retrieval_chance"] is None


def test_chance_is_the_share_of_test_images_with_the_own_caption() -> None:
    test = gallery(np.zeros((10, 2), np.float32), [0, 1, 2, 3, 4, 5, 6, 7, 8, 8])
    told = describe_retrieval(np.array([0, 8, 99]), test)
    assert told["retrieval_chance"] == pytest.approx((1 / 10 + 2 / 10) / 2)
    assert told["retrieval_images"] == 2 and told["retrieval_among"] == 10


def test_captions_are_one_class() -> None:
    labels = np.arange(50)
    classes, count = as_classes(labels, 50, config())
    assert count == 1 and not classes.any()
    unchanged, count = as_classes(labels, 50, evaluation())
    assert unchanged is labels and count == 50
    assert count_classes(labels, 50, config()) == CAPTIONS
    check_images(pictures(50, seed=0), labels, config(), 50)
    with pytest.raises(ValueError, match="needed are 100"):
        check_images(pictures(50, seed=0), labels, evaluation(), 50)
    with pytest.raises(ValueError, match=r"labels must lie in 0..48"):
        check_images(pictures(50, seed=0), labels, config(), 49)


@pytest.mark.parametrize("name", ["emoji", "t2i"])
def test_shipped_evaluations_fit_their_protocol(name: str) -> None:
    found = compose("reference", [f"evaluation={name}", "scale=cpu"]).evaluation
    rule = find_rule(found)
    assert rule.captioned and rule.on_test == (name == "t2i")
    assert rule.num_images == (30_000 if name == "t2i" else 0)
    assert ("not known" in rule.offsets) == (name == "t2i")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A captioned dataset in a folder of its own."""
    for name in ("src", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/cpu/dataset"
    folder.mkdir(parents=True)
    for split, count, first in (("train", TRAIN, 0), ("test", TEST, TRAIN)):
        np.save(folder / f"{split}_images.npy", pictures(count, seed=count))
        np.save(folder / f"{split}_labels.npy", np.arange(first, first + count))
    sizes = {"image_size": 32, "channels": 1, "num_classes": TRAIN + TEST}
    sizes |= {"num_train": TRAIN, "num_test": TEST}
    digests = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    write_json(folder / "index.json", {"name": "made-up", "sha256": digests} | sizes)
    return folder


def make_reference(protocol: str) -> dict[str, Any]:
    reference.main(
        ReferenceStage(reproducible=True, scale="cpu", key="", evaluation=config(protocol))
    )
    return read_json(result_folder("cpu", "reference") / "metrics.json")


@pytest.mark.filterwarnings("ignore:.*feature dimensions")
def test_stage_reference_keeps_the_test_images_that_scores_look_up(dataset: Path) -> None:
    floors = make_reference("grey")
    assert floors["scores"]["floor"]["retrieval"] == 1.0  # test images find themselves
    anchor = floors["scores"]["anchor"]
    assert anchor["num_images"] == TEST and anchor["retrieval"] < 0.3
    found = load_reference(result_folder("cpu", "reference"), config())
    assert found.index["computed_on"] == "made-up, 160 training images"
    assert found.gallery is not None and found.features is not None
    assert found.gallery.features.shape == (TEST, 128) and len(found.features) == 37
    np.testing.assert_array_equal(found.gallery.labels, np.load(dataset / "test_labels.npy"))
    samples, labels = np.load(dataset / "test_images.npy"), np.load(dataset / "test_labels.npy")
    score = score_images(samples, labels, found, config(), CPU)
    assert score["values"]["retrieval"] == score["values"]["retrieval_top5"] == 1.0
    told = score["protocol"]
    assert told["retrieval_chance"] == 1 / TEST and told["per_class"] == CAPTIONS
    swapped = score_images(samples, np.roll(labels, 1), found, config(), CPU)
    assert swapped["values"]["retrieval"] == 0.0
    for name in ("fid", "fid_se", "precision"):  # captions move nothing else
        assert swapped["values"][name] == score["values"][name]


@pytest.mark.filterwarnings("ignore:.*feature dimensions")
def test_reference_on_test_images_has_a_floor_of_as_many_training_images(dataset: Path) -> None:
    floors = make_reference("grey-on-test")
    assert "floor_fid_of_training_images" in floors["floors"]
    assert floors["scores"]["floor"]["num_images"] == 100
    assert "retrieval" not in floors["scores"]["floor"]  # their captions have no test image
    found = load_reference(result_folder("cpu", "reference"), config("grey-on-test"))
    assert found.index["computed_on"] == "made-up, 40 test images"
    assert found.statistics.count == TEST and found.gallery is not None


@pytest.mark.filterwarnings("ignore:.*feature dimensions")
@pytest.mark.parametrize("protocol", ["grey", "grey-on-test"])
def test_a_reference_made_on_a_gpu_is_that_of_the_cpu(
    protocol: str, dataset: Path, gpu: Gpu
) -> None:
    def made() -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
        floors = make_reference(protocol)
        with np.load(result_folder("cpu", "reference") / "statistics.npz") as file:
            arrays = dict(file)
        found = load_reference(result_folder("cpu", "reference"), config(protocol))
        labels = np.arange(TRAIN, TRAIN + 100) % (TRAIN + TEST)
        score = score_images(pictures(100, 5), labels, found, config(protocol), device())
        return floors, arrays, score["values"]

    floors, arrays, values = made()
    with gpu(deterministic=True):
        their_floors, their_arrays, their_values = made()
    assert (floors["device"], their_floors["device"]) == ("cpu", "cuda")
    for part in ("floor", "anchor"):
        close(their_floors["scores"][part], floors["scores"][part], gpu)
    close(their_values, values, gpu)
    assert ("retrieval" in values) and arrays.keys() == their_arrays.keys()
    for name, array in arrays.items():
        difference = np.abs(their_arrays[name] - array).max()
        assert difference <= gpu.rounding * 1e-4 * max(1, np.abs(array).max()), name


def close(there: dict[str, float], here: dict[str, float], gpu: Gpu) -> None:
    assert there.keys() == here.keys()
    for name, value in here.items():
        assert there[name] == pytest.approx(value, rel=gpu.rounding * 1e-3, abs=1e-3), name


@pytest.mark.filterwarnings("ignore:.*feature dimensions")
def test_damaged_gallery_is_refused(dataset: Path) -> None:
    make_reference("grey")
    folder = result_folder("cpu", "reference")
    arrays = dict(np.load(folder / "statistics.npz"))
    for change, message in (
        ({"test_labels": None}, "both or none of test_features and test_labels"),
        ({"test_labels": np.arange(3)}, "do not fit"),
    ):
        kept = {name: array for name, array in (arrays | change).items() if array is not None}
        np.savez(folder / "statistics.npz", **kept)
        index = read_json(folder / "index.json")
        write_json(folder / "index.json", index | {"sha256": sha256(folder / "statistics.npz")})
        with pytest.raises(ValueError, match=message):
            load_reference(folder, config())
