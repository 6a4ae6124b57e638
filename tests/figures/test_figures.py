"""Figures: drawn from made-up results; maps of A follow the host's order."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from nextbasis.claims import __main__ as ledger
from nextbasis.figures import __main__ as stage
from nextbasis.figures import basis_plots, forest, plots
from nextbasis.tables import inputs
from results_tree import build, small_catalog, small_claims, write_catalog, write_claims

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = small_catalog()
    build(tmp_path, catalog, "small", pictures=True)
    write_claims(tmp_path, small_claims())
    write_catalog(tmp_path, catalog)
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/templates").symlink_to(ROOT / "workflow/templates")
    monkeypatch.chdir(tmp_path)
    ledger.main(["--scale", "small"])


def test_every_figure_is_drawn(tmp_path: Path) -> None:
    stage.main(["--scale", "small"])
    for name in inputs.FIGURES:
        with Image.open(tmp_path / "results/small/figures" / name) as image:
            assert min(image.size) > 100
            assert np.asarray(image.convert("L")).std() > 5  # something is drawn


def test_a_figure_alone_needs_its_own_files_only(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "results/small/score")
    stage.main(["--scale", "small", "--only", "claims.png", "--only", "loss_curves.png"])
    drawn = sorted(path.name for path in (tmp_path / "results/small/figures").iterdir())
    assert drawn == ["claims.png", "loss_curves.png"]
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small", "--only", "fid_overview.png"])


def test_inputs_are_all_there_and_their_absence_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = inputs.figure_inputs(small_catalog(), "small")
    assert all((tmp_path / name).is_file() for name in names)
    (tmp_path / "results/small/train/a_bar/metrics.csv").unlink()
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small"])
    assert (
        "train/a_bar/metrics.csv is missing; `dvc repro config/scales/small/dvc.yaml:train@a_bar`"
        in (capsys.readouterr().err)
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
    assert plots.basis_curves([]).axes[0].get_title() == plots.NO_BASIS
    for draw in (basis_plots.energy_profile, basis_plots.smuggling, basis_plots.klt_overlap):
        assert draw([]).axes[0].get_title() == basis_plots.NO_DIAGNOSIS


def test_maps_take_a_basis_with_more_rows_than_tokens() -> None:
    frame = plots.BasisMap("frame", np.ones((5, 4), dtype=np.float32), np.arange(4))
    assert "rows 1 to 4" in plots.basis_maps([frame]).axes[0].get_title()


def test_diagnosed_curves_are_the_measured_numbers() -> None:
    found = stage.read_diagnoses(small_catalog(), "small")
    assert [one.key for one in found] == ["a_bar", "b_bar"]
    profile = basis_plots.energy_profile(found).axes[0]
    drawn = {line.get_label(): line.get_ydata() for line in profile.get_lines()}
    assert list(drawn) == ["KLT", "identity", "a_bar", "b_bar"]
    np.testing.assert_allclose(drawn["a_bar"], found[0].values["cumulative_energy"])
    np.testing.assert_allclose(drawn["identity"], np.arange(1, 17) / 16)
    overlap = basis_plots.klt_overlap(found).axes[0].get_lines()
    np.testing.assert_allclose(overlap[0].get_ydata(), np.array([1, 2, 4, 8, 16]) / 16)
    mean_square, left = basis_plots.smuggling(found).axes[0].get_lines()
    np.testing.assert_allclose(mean_square.get_ydata(), found[0].values["variance"])
    assert np.isnan(left.get_ydata()[-1]) and np.isfinite(left.get_ydata()[:-1]).all()


def test_bases_of_other_tokens_get_a_panel_of_their_own() -> None:
    first, second = stage.read_diagnoses(small_catalog(), "small")
    other = basis_plots.Diagnosed(second.key, "mar", second.tokens, second.values)
    titles = [axis.get_title() for axis in basis_plots.energy_profile([first, other]).axes]
    assert [title.partition(":")[0] for title in titles] == ["xAR on tokens kl", "MAR on tokens kl"]


def test_missing_diagnosis_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("results/small/diagnose/b_bar/metrics.json").unlink()
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small"])
    assert (
        "`dvc repro config/scales/small/dvc.yaml:diagnose@b_bar` makes it"
        in capsys.readouterr().err
    )


def test_forest_draws_both_intervals_and_the_published_margin() -> None:
    table = stage.read_comparisons("small")
    figure = forest.forest(table)
    assert list(forest.shown_of(table)["claim"]) == ["a", "b"]
    assert forest.shown_of(table.assign(verdict="not tested")).empty
    axis = figure.axes[0]
    row = table[table["claim"] == "a"].iloc[0]
    lines = [one for one in axis.collections if isinstance(one, LineCollection)]
    bands = [one.get_paths()[0].get_extents() for one in axis.collections if one not in lines]
    margins = table["margin"].dropna()
    assert sorted(band.x1 for band in bands) == pytest.approx(sorted(margins))
    assert all(band.x0 == pytest.approx(-band.x1) for band in bands)
    segments = [path for one in lines for path in one.get_segments()]
    ends = [(segment[0][0], segment[1][0]) for segment in segments]
    drawn = [("low_deciding", "high_deciding"), ("low", "high")]  # of a alone: b has one seed
    assert ends == [pytest.approx((row[low], row[high])) for low, high in drawn]
    thin, thick = (one.get_linewidth() for one in lines)
    assert thick > thin
    points = {line.get_xdata()[0]: line.get_markerfacecolor() for line in axis.lines[1:]}
    effects = table.set_index("claim")["effect"]
    assert points[effects["b"]] == "w" and points[effects["a"]] != "w"


def test_forest_gives_each_unit_a_panel_of_its_own() -> None:
    table = stage.read_comparisons("small")
    nats = table[table["claim"] == "a"].assign(metric="held_out", effect=0.125, claim="a_nats")
    both = pd.concat([nats, table])
    fid, loss = forest.forest(both).axes
    assert [axis.get_xlabel().split(":")[0] for axis in (fid, loss)] == [
        "FID",
        "loss on test images",
    ]
    assert [line.get_xdata()[0] for line in loss.lines[1:]] == [0.125]
    assert sorted(line.get_xdata()[0] for line in fid.lines[1:]) == sorted(table["effect"])
    assert len(forest.forest(nats).axes) == 1


def test_forest_draws_ratios_of_fid_on_a_logarithmic_axis() -> None:
    table = stage.read_comparisons("small")
    ratio = table[table["claim"] == "a"].assign(effect_is="log ratio", effect=np.log(2.5))
    ratio = ratio.assign(low_deciding=np.log(1.25), high_deciding=np.log(5.0), margin=np.log(1.5))
    (axis,) = forest.forest(ratio).axes
    none, point = axis.lines
    assert axis.get_xscale() == "log" and none.get_xdata()[0] == 1
    assert point.get_xdata()[0] == pytest.approx(2.5)
    band, thin, _ = axis.collections
    assert [end[0] for end in thin.get_segments()[0]] == pytest.approx([1.25, 5])
    assert band.get_paths()[0].get_extents().intervalx == pytest.approx([1 / 1.5, 1.5])


def test_forest_without_a_measured_effect_says_so() -> None:
    empty = forest.forest(stage.read_comparisons("small").iloc[:0])
    assert empty.get_suptitle() == forest.NOTHING
