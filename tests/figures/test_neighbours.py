"""Nearest training images and principal axes: against explicit formulas, and drawn whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from command import ROOT
from gpus import Gpu
from nextbasis.config import ReferenceStage, compose
from nextbasis.figures import feature_plots
from nextbasis.figures import neighbours as stage
from nextbasis.pipeline import catalog as catalogs
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.scoring import feature_space
from nextbasis.scoring.feature_space import Nearest, principal_axes, share_nearer
from nextbasis.scoring.statistics import RunningStatistics
from nextbasis.stages import reference
from nextbasis.support.files import sha256, write_json
from nextbasis.tables import inputs
from nextbasis.tables.inputs import FEATURE_FIGURES
from scoring import balanced, pictures

SIDE = 8  # pixels of the tiny scale's images


@given(batch=st.integers(1, 40), block=st.integers(1, 50), k=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_nearest_are_those_of_the_whole_matrix(batch: int, block: int, k: int) -> None:
    generator = torch.Generator().manual_seed(1)
    queries, images = (torch.randn(n, 6, generator=generator) for n in (30, 77))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_space, "BLOCK", block)
        nearest = Nearest(queries, k)
        for part in images.split(batch):
            nearest.update(part)
        distances, positions = nearest.result()
    every = (queries[:, None] - images).square().sum(2).sqrt()
    assert torch.equal(positions, every.argsort(1)[:, :k])
    torch.testing.assert_close(distances, every.sort(1).values[:, :k], atol=1e-4, rtol=1e-4)


def test_fewer_images_than_neighbours_are_refused() -> None:
    nearest = Nearest(torch.zeros(2, 3), k=4)
    nearest.update(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="4 nearest images need as many training images"):
        nearest.result()


def test_share_compares_with_a_quantile_of_unseen_images() -> None:
    unseen = torch.arange(1.0, 102.0)  # median 51, first percentile 2
    assert share_nearer(unseen, unseen, 0.5) == pytest.approx(50 / 101)
    assert share_nearer(torch.zeros(9), unseen, 0.01) == 1.0
    assert share_nearer(torch.tensor([1.5, 2.5, 50.0, 60.0]), unseen, 0.01) == 0.25
    assert share_nearer(torch.tensor([1.5, 2.5, 50.0, 60.0]), unseen, 0.5) == 0.75


def test_axes_are_those_of_the_singular_value_decomposition() -> None:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(50, 4, generator=generator) * torch.tensor([1.0, 5.0, 0.5, 2.0]) + 3
    running = RunningStatistics(4)
    running.update(features)
    axes, shares = principal_axes(running.result(), 2)
    centred = features.double() - features.double().mean(0)
    _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(axes.T @ vectors[:2].T.numpy()), np.eye(2), atol=1e-6)
    np.testing.assert_allclose(shares, (values**2 / (values**2).sum())[:2].numpy(), rtol=1e-6)
    assert (axes.max(0) >= np.abs(axes).max(0)).all()


def test_evenly_spaced_positions_keep_classes_balanced() -> None:
    assert stage.evenly(50_000, 1_000).tolist() == list(range(0, 50_000, 50))
    assert stage.evenly(3, 10).tolist() == [0, 1, 2]
    assert (np.diff(stage.evenly(1_999, 1_000)) >= 1).all()


def test_panels_share_limits_and_hold_every_point() -> None:
    rng = np.random.default_rng(3)
    real, made = rng.normal(size=(90, 2)), rng.normal(size=(40, 2)) + 5
    panels = [feature_plots.Cloud("a", made), feature_plots.Cloud("b", made[:7])]
    figure = feature_plots.principal_components(real, panels, np.array([0.5, 0.25]))
    first, second = (axis for axis in figure.axes if axis.get_title())
    assert first.get_xlim() == second.get_xlim() and first.get_ylim() == second.get_ylim()
    np.testing.assert_array_equal(np.asarray(second.collections[0].get_offsets()), real)
    np.testing.assert_array_equal(np.asarray(second.collections[1].get_offsets()), made[:7])
    assert "50% of the variance" in figure.get_supxlabel()


def test_headline_systems_are_shown_with_their_first_seed() -> None:
    found = catalogs.headline_evals(load_catalog(), "cpu")
    assert found["mar_b"] == "mar_b" and found["xar_b_bar"] == "xar_b_bar" and "mar_h" not in found
    assert list(catalogs.headline_evals(load_catalog(), "tiny"))[0] == "mar_b"


def small(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images[:, ::4, ::4])


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scale tiny with a dataset, reference statistics and two systems, one of which copies."""
    training = small(pictures(600, seed=1))
    folder = tmp_path / "results/tiny"
    (folder / "dataset").mkdir(parents=True)
    for split, images in (("train", training), ("test", small(pictures(200, seed=2)))):
        np.save(folder / f"dataset/{split}_images.npy", images)
        np.save(folder / f"dataset/{split}_labels.npy", balanced(len(images)))
    files = sorted((folder / "dataset").iterdir())
    index: dict[str, Any] = {"image_size": SIDE, "channels": 1, "num_classes": 10, "name": "made"}
    index |= {"num_train": 600, "num_test": 200, "sha256": {f.name: sha256(f) for f in files}}
    write_json(folder / "dataset/index.json", index)
    write_json(folder / "dataset/captions.json", ["one", "two"])
    for key, images in (("copies", training[::6]), ("draws", small(pictures(100, 4, 200)))):
        (folder / "sample" / key).mkdir(parents=True)
        np.save(folder / f"sample/{key}/samples.npy", images)
        np.save(folder / f"sample/{key}/labels.npy", balanced(100))
    for name in ("src", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    entry = {"seed": 0, "headline": True}
    evals = {key: entry | {"run": key, "system": key} for key in ("copies", "draws")}
    evals = evals | {"x": entry | {"system": "y", "headline": False}}
    catalog = {"tiny": {"evals": evals}, "tables": {}}
    monkeypatch.setattr(stage, "load_catalog", lambda: catalog)
    monkeypatch.chdir(tmp_path)
    config = compose("reference", ["scale=tiny", "evaluation=tiny"]).evaluation
    reference.main(ReferenceStage(reproducible=True, scale="tiny", key="", evaluation=config))
    return folder


def test_figures_are_drawn_and_copies_are_found(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = feature_plots.neighbours
    monkeypatch.setattr(
        feature_plots, "neighbours", lambda *given: seen.append(given) or original(*given)
    )
    assert all(Path(name).is_file() for name in inputs.feature_inputs(stage.load_catalog(), "tiny"))
    assert all(Path(name).is_file() for name in inputs.feature_code())
    stage.main(["--scale", "tiny"])
    for name in FEATURE_FIGURES:
        with Image.open(results / "figures" / name) as image:
            assert min(image.size) > 200 and np.asarray(image.convert("L")).std() > 5
    (blocks, title) = seen[0]
    assert title.startswith("Nearest of 600 training images")
    assert blocks[0].title.startswith(
        "copies\n100.0% nearer than the median test image, 100.0% than the nearest 1%"
    )
    assert [row.label for row in blocks[0].rows] == ["class 0", "class 3", "class 6", "nearest"]
    for row in blocks[0].rows:  # a copy stands beside its original
        np.testing.assert_array_equal(row.images[0], row.images[1])
        assert row.distances == sorted(row.distances) and len(row.distances) == stage.NEIGHBOURS
    assert not blocks[1].title.startswith("draws\n100.0%")


def test_figures_drawn_on_a_gpu_are_those_of_the_cpu(
    results: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    seen: list[Any] = []
    original = feature_plots.neighbours
    monkeypatch.setattr(
        feature_plots, "neighbours", lambda *given: seen.append(given[0]) or original(*given)
    )
    stage.main(["--scale", "tiny"])
    with gpu(deterministic=True):
        stage.main(["--scale", "tiny"])
    here, there = seen
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.title == ours.title
        for one, two in zip(ours.rows, theirs.rows, strict=True):
            np.testing.assert_array_equal(two.images[:2], one.images[:2])
            near = {"rel": gpu.rounding * 1e-3, "abs": gpu.rounding * 1e-2}  # of a copy it is 0
            assert two.distances == pytest.approx(one.distances, **near)


def test_missing_samples_are_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "sample/draws/samples.npy").unlink()
    with pytest.raises(SystemExit):
        stage.main(["--scale", "tiny"])
    assert "no file results/tiny/sample/draws/samples.npy" in capsys.readouterr().err
