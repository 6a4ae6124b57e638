"""Draw the figure of a table that varies a setting: a plain rule, not a DVC stage.

A group of the table is a line, and the number that labels a row is where its point stands.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nextbasis.figures.plots import save
from nextbasis.pipeline.catalog import Catalog, evals_made, table_of
from nextbasis.pipeline.checks import check_table
from nextbasis.scoring.facts import METRICS
from nextbasis.support.endings import in_one_line
from nextbasis.support.files import result_folder
from nextbasis.support.words import listed
from nextbasis.tables import sofar
from nextbasis.tables.inputs import table_evals
from nextbasis.tables.layout import AXES
from nextbasis.tables.measured import check_budgets, collect, estimate, read_score

LOGARITHMIC = ("iterations", "cells", "budget")  # axes of what a table varies
SHOWN = ("fid", "held_out")  # a panel each; the first always, the second where the table has it


@dataclass(frozen=True)
class Line:
    """A metric of one group at rising values of what the table varies."""

    label: str
    x: list[float]
    values: list[float]
    spreads: list[float]  # deviation over seeds, or standard error of one; NaN where unknown


@dataclass(frozen=True)
class Panel:
    """The lines of one metric, and values by name that are drawn as dashed lines."""

    metric: str
    lines: list[Line]
    floors: dict[str, float]


def read(catalog: Catalog, scale: str, table: str) -> list[Panel]:
    """The panels of a table's figure at one scale.

    Raises: ValueError for a table that varies nothing or has no row at the scale, and for budgets
    that it must not mix; FileNotFoundError naming a result that was not made.
    """
    check_table(catalog, table)
    entry = table_of(catalog, table)
    if "varies" not in entry:
        raise ValueError(f"tables.{table} varies nothing (it has no `varies`), so no line is drawn")
    rows = [row for row in entry["rows"] if evals_made(catalog, scale, row["system"])]
    if not rows:
        raise ValueError(f"tables.{table}: scale {scale} runs none of its systems")
    frame = collect(catalog, scale, dict.fromkeys(row["system"] for row in rows))
    check_budgets(frame, catalog, table)
    panels = []
    for metric in (name for name in SHOWN if name == SHOWN[0] or name in entry["metrics"]):
        lines = []
        for group in dict.fromkeys(row["group"] for row in rows):
            found = {
                float(row["label"]): estimate(frame, row["system"], metric)
                for row in rows
                if row["group"] == group
            }
            points = sorted((x, one) for x, one in found.items() if one is not None)
            x, ones = [point[0] for point in points], [point[1] for point in points]
            values, spreads = [one.value for one in ones], [one.spread for one in ones]
            lines.append(Line(group, x, values, spreads))
        if any(line.x for line in lines):
            floors = _floors(catalog, scale, table) if metric == "fid" else {}
            panels.append(Panel(metric, lines, floors))
    return panels


def caption(catalog: Catalog, scale: str, table: str) -> str:
    """What the figure of a table shows, in words that need no other text."""
    entry = table_of(catalog, table)
    made = [row["group"] for row in entry["rows"] if evals_made(catalog, scale, row["system"])]
    metrics = " and ".join(METRICS[name].label for name in SHOWN if name in entry["metrics"])
    words = f"{metrics} by {AXES[entry['varies']]}, a line each for"
    return f"{entry['title']}: {words} {listed(dict.fromkeys(made))}."


def _floors(catalog: Catalog, scale: str, table: str) -> dict[str, float]:
    """FID of the reconstructions of each tokenizer behind a table's systems."""
    used = dict.fromkeys(entry["tokens"] for entry in table_evals(catalog, scale, table).values())
    return {name: read_score(scale, "reconstruct", name)["values"]["fid"] for name in used}


def draw(panels: Sequence[Panel], varies: str) -> Figure:
    """A panel beside the other, a line a group, over what the table varies."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5.5 * len(panels), 3.8), squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        _draw(axis, panel, varies)
    return figure


def _draw(axis: Axes, panel: Panel, varies: str) -> None:
    label, logarithmic = AXES[varies], varies in LOGARITHMIC
    for line in panel.lines:
        axis.errorbar(
            line.x, line.values, line.spreads, fmt="o-", label=line.label, capsize=2, markersize=3
        )
    for name, value in panel.floors.items():
        title = f"reconstruction, {name}"
        axis.axhline(value, color="0.4", linewidth=0.9, linestyle="--", label=title)
    points = sorted({x for line in panel.lines for x in line.x})
    if logarithmic:
        axis.set_xscale("log", base=2)
    axis.set_xticks(points, [f"{x:g}" if x < 1000 else f"{x:,.0f}" for x in points])
    axis.set(xlabel=label, ylabel=METRICS[panel.metric].heading)
    if panel.metric == "fid":
        axis.set_ylim(bottom=0)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)  # above: lines may be anywhere


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and draw; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser(prog="python -m nextbasis.figures.lines", description=__doc__)
    parser.add_argument("--scale", default="cpu", help="a folder of config/scales")
    parser.add_argument(
        "--table", required=True, help="a table with `varies` in config/tables.yaml"
    )
    sofar.add_so_far(parser)
    parser.add_argument("--out", type=Path, help="folder; default: results/SCALE/figures")
    options = parser.parse_args(arguments)
    with in_one_line():
        catalog = sofar.chosen_catalog(options)
        panels = read(catalog, options.scale, options.table)
        varies = table_of(catalog, options.table)["varies"]
        folder = options.out or result_folder(options.scale, "figures")
        save({f"{options.table}.png": lambda: draw(panels, varies)}, folder)


if __name__ == "__main__":
    main()
