"""Figures of tables that vary a setting: their lines are the table's numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nextbasis.figures import lines
from nextbasis.pipeline.catalog import standard_evals
from nextbasis.support.files import read_json, write_json
from nextbasis.tables.layout import AXES
from results_tree import build, fid_of, small_catalog, write_catalog

ROWS = [
    {"group": "without", "label": "1", "system": "a"},
    {"group": "with", "label": "8", "system": "b_bar"},
    {"group": "with", "label": "2.5", "system": "twin_bar"},
]
HELD_OUT = {"a": 0.5, "a_s1": 0.25, "a_s2": 0.75, "a_bar": 0.125}


@pytest.fixture(autouse=True)
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A repository with a table that varies guidance; that of `b_bar` has no held-out loss."""
    catalog = small_catalog()
    catalog["small"]["same"]["twin_bar"] = "a_bar"
    table = {"title": "T", "caption": "C", "kind": "systems", "metrics": ["fid"]}
    catalog["tables"]["strengths"] = table | {"varies": "guidance", "rows": ROWS}
    build(tmp_path, catalog, "small")
    write_catalog(tmp_path, catalog)
    monkeypatch.chdir(tmp_path)
    catalog["small"]["heldouts"] = dict.fromkeys(HELD_OUT, {})
    for run, value in HELD_OUT.items():
        write_json(Path(f"results/small/heldout/{run}/metrics.json"), {"held_out": value})
    return catalog


def test_lines_are_the_means_and_spreads_of_the_rows(catalog: dict[str, Any]) -> None:
    (panel,) = lines.read(catalog, "small", "strengths")
    assert panel.floors == {"kl": 0.91}
    first, second = panel.lines
    fids = [fid_of(position, position) for position in range(3)]
    assert (first.label, first.x) == ("without", [1])
    assert first.values == pytest.approx([np.mean(fids)])
    assert first.spreads == pytest.approx([np.std(fids, ddof=1)])
    assert (second.label, second.x) == ("with", [2.5, 8])  # by number
    assert second.values[1] == pytest.approx(fid_of(7, 0)) and second.spreads[1] == 0.08


def test_the_held_out_loss_has_a_panel_where_the_table_has_it(catalog: dict[str, Any]) -> None:
    catalog["tables"]["strengths"]["metrics"] = ["fid", "recall", "held_out"]
    _, panel = lines.read(catalog, "small", "strengths")
    assert (panel.metric, panel.floors) == ("held_out", {})
    assert [line.x for line in panel.lines] == [[1], [2.5]]  # that of b_bar is not known
    assert panel.lines[0].values == [0.5] and panel.lines[1].values == [0.125]


def test_a_caption_says_what_is_drawn_over_what(catalog: dict[str, Any]) -> None:
    table = catalog["tables"]["strengths"]
    table["rows"] = [*ROWS, {"group": "never run", "label": "4", "system": "elsewhere"}]
    text = "T: FID by strength of guidance, a line each for without, with."
    assert lines.caption(catalog, "small", "strengths") == text
    table["metrics"] = ["fid", "held_out"]
    assert lines.caption(catalog, "small", "strengths").startswith("T: FID and held-out loss by ")


@pytest.mark.parametrize(("varies", "scale"), [("iterations", "log"), ("guidance", "linear")])
def test_axes_have_a_tick_at_every_point(catalog: dict[str, Any], varies: str, scale: str) -> None:
    axis = lines.draw(lines.read(catalog, "small", "strengths"), varies).axes[0]
    assert (axis.get_xscale(), axis.get_xlabel()) == (scale, AXES[varies])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2.5", "8"]
    legend = axis.get_legend()
    assert legend is not None
    names = {text.get_text() for text in legend.get_texts()}
    assert names == {"without", "with", "reconstruction, kl"}


def test_the_command_writes_the_figure_of_the_tables_name() -> None:
    lines.main(["--scale", "small", "--table", "strengths"])
    with Image.open("results/small/figures/strengths.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


def train_longer(run: str) -> None:
    path = Path(f"results/small/train/{run}/metrics.json")
    write_json(path, read_json(path) | {"steps": 5400, "images_seen": 172_800})


def test_only_a_table_that_varies_the_budget_mixes_budgets(catalog: dict[str, Any]) -> None:
    train_longer("b_bar")
    with pytest.raises(ValueError, match=r"tables.strengths: a .* and b_bar .* in 5,400 steps\)"):
        lines.read(catalog, "small", "strengths")
    table = catalog["tables"]["strengths"]
    rows = [row | {"label": label} for row, label in zip(ROWS, ("540", "5400", "540"), strict=True)]
    table |= {"varies": "budget", "rows": rows}
    assert [line.x for line in lines.read(catalog, "small", "strengths")[0].lines] == [
        [540],
        [540, 5400],
    ]
    rows[0]["label"] = "270"
    with pytest.raises(
        ValueError, match="row '270' of 'without' must be the steps of a, which was"
    ):
        lines.read(catalog, "small", "strengths")


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("systems", {}, "tables.systems varies nothing"),
        ("strengths", {"label": "two"}, "row 'two' of 'without' needs a group and, as its label"),
        ("strengths", {"group": "with", "label": "8.0"}, "row '8' of 'with' stands there twice"),
    ],
)
def test_tables_without_lines_are_refused(
    catalog: dict[str, Any], table: str, change: dict[str, str], message: str
) -> None:
    catalog["tables"]["strengths"]["rows"] = [ROWS[0] | change, *ROWS[1:]]
    with pytest.raises(ValueError, match=message):
        lines.read(catalog, "small", table)


def test_a_scale_without_its_systems_says_so(catalog: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tables.strengths: scale large runs none of its systems"):
        lines.read(catalog, "large", "strengths")


def test_overviews_leave_out_what_only_such_a_table_shows(catalog: dict[str, Any]) -> None:
    assert "b_bar" in standard_evals(catalog, "small")  # the table of pairs shows it
    del catalog["tables"]["pairs"]
    shown = standard_evals(catalog, "small")
    assert "b_bar" not in shown and {"a", "b", "a_bar"} <= shown.keys()
