"""Figures: drawn from made-up results; maps of A follow the host's order."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from nextbasis.stages import figures as stage
from nextbasis.tables import inputs, plots
from results_tree import PUBLISHED, build, small_catalog


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = small_catalog()
    build(tmp_path, catalog, "small", pictures=True)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/catalog.yaml").write_text(yaml.safe_dump(catalog))
    (tmp_path / "config/published.csv").write_text(PUBLISHED)
    monkeypatch.chdir(tmp_path)


def test_every_figure_is_drawn(tmp_path: Path) -> None:
    stage.main(["--scale", "small"])
    for name in inputs.FIGURES:
        with Image.open(tmp_path / "results/small/figures" / name) as image:
            assert min(image.size) > 100
            assert np.asarray(image.convert("L")).std() > 5  # something is drawn


def test_inputs_are_all_there_and_their_absence_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = inputs.figure_inputs(small_catalog(), "small")
    assert all((tmp_path / name).is_file() for name in names)
    (tmp_path / "results/small/train/a_bar/metrics.csv").unlink()
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small"])
    assert "train/a_bar/metrics.csv is missing; `dvc repro train-small@a_bar`" in (
        capsys.readouterr().err
    )


def test_map_puts_each_token_at_its_raster_place() -> None:
    host_order = np.array([0, 2, 1, 3])
    matrix = np.array([[10.0, 20.0, 30.0, 40.0]] * 4)
    strip = plots.map_strip(matrix, host_order, rows=2)
    assert strip.shape == (2, 5)
    np.testing.assert_array_equal(strip[:, :2], [[10, 30], [20, 40]])
    assert np.isnan(strip[:, 2]).all()
    with pytest.raises(ValueError, match="3 tokens, which is no square grid"):
        plots.map_strip(np.eye(3), np.arange(3), rows=1)


def test_overview_shows_every_seed_and_every_published_value() -> None:
    points = {point.system: point for point in stage.read_points(small_catalog(), "small")}
    assert len(points["a"].seeds) == 3
    assert points["a"].value == pytest.approx(np.mean(points["a"].seeds))
    assert points["a"].published == [1.7]
    assert points["b_bar"].published == [1.9]


def test_scale_without_a_learned_basis_is_drawn_too() -> None:
    assert plots.basis_maps([]).axes[0].get_title() == plots.NO_BASIS
    figure = plots.basis_curves([], "sigma_min", "sigma_max", "distance_from_start")
    assert figure.axes[0].get_title() == plots.NO_BASIS
