"""Figures as pure functions of numbers, and how figures are saved.

Here: curves, maps of a basis, FID overview, contact sheet.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nextbasis.families import find
from nextbasis.support.files import write_atomic

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 150,
}
SMOOTHING = 25  # a curve is averaged over this fraction of its rows
EARLY = 20  # the first 1/EARLY of a curve does not set the limits of its axis
NO_BASIS = "no learned basis at this scale"
MAP_ROWS = 8  # rows of A shown
BASIS_CURVES = {  # column of a learned basis's curve: title, label of the axis
    "sigma_min": ("smallest singular value of A", "singular value"),
    "sigma_mean": ("mean singular value", "singular value"),
    "sigma_max": ("largest singular value", "singular value"),
    "distance_from_start": ("distance of A from its start", "Frobenius norm"),
    "drift": ("drift of A since the previous point", "Frobenius norm"),
}
COLUMNS = 6  # pictures side by side on the contact sheet


@dataclass(frozen=True)
class Curve:
    """The curves of one training."""

    family: str
    system: str
    frame: pd.DataFrame  # columns step, loss and, where A is learned, what BASIS_CURVES names


@dataclass(frozen=True)
class Point:
    """One system's measured FID and every published one."""

    system: str
    seeds: list[float]
    value: float
    spread: float
    published: list[float]


@dataclass(frozen=True)
class BasisMap:
    """One system's A and the raster index of each position of the host's sequence."""

    system: str
    weight: Float[np.ndarray, "m n"]
    host_order: Int64[np.ndarray, " n"]


def loss_curves(curves: Sequence[Curve]) -> Figure:
    """Training loss of every run, one panel a family, one colour a system."""
    families = list(dict.fromkeys(curve.family for curve in curves))
    figure, axes = plt.subplots(
        len(families), 1, figsize=(9, 3.4 * len(families)), squeeze=False, layout="constrained"
    )
    for axis, family in zip(axes[:, 0], families, strict=True):
        own = [curve for curve in curves if curve.family == family]
        _lines(axis, own, "loss")
        axis.set(title=f"{find(family).title}: training loss, running mean", ylabel="loss")
    axes[-1, 0].set_xlabel("step")
    return figure


def basis_curves(curves: Sequence[Curve]) -> Figure:
    """Singular values of every learned A, its distance from the start, and its drift."""
    count = len(BASIS_CURVES)
    figure, axes = plt.subplots(
        count, 1, figsize=(9, 2.6 * count), sharex=True, layout="constrained"
    )
    for axis, (column, (title, label)) in zip(axes, BASIS_CURVES.items(), strict=True):
        _lines(axis, curves, column, smooth=False, legend=axis is axes[0])
        axis.set(title=title if curves else NO_BASIS, ylabel=label)
        if column.startswith("sigma"):
            axis.axhline(1, color="0.5", linewidth=0.8)
    axes[-1].set_yscale("log")
    axes[-1].set_xlabel("step")
    return figure


def _lines(
    axis: Axes, curves: Sequence[Curve], column: str, smooth: bool = True, legend: bool = True
) -> None:
    systems = list(dict.fromkeys(curve.system for curve in curves))
    colours = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    late = []
    for curve in curves:
        position = systems.index(curve.system)
        width = max(1, len(curve.frame) // SMOOTHING) if smooth else 1
        values = curve.frame[column].rolling(width, min_periods=1).mean()
        first = next(other for other in curves if other.system == curve.system) is curve
        axis.plot(
            curve.frame["step"],
            values,
            color=colours[(2 * position) % 20 + (position >= 10)],
            linestyle="-" if position < 10 else "--",
            linewidth=1.1,
            alpha=1.0 if first else 0.5,
            label=curve.system if first else None,
        )
        late.append(values.iloc[len(values) // EARLY :])
    if late and smooth:
        joined = pd.concat(late)
        margin = 0.05 * float(joined.max() - joined.min()) + 1e-9
        axis.set_ylim(float(joined.min()) - margin, float(joined.max()) + margin)
    if legend and curves:
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5)


def basis_maps(bases: Sequence[BasisMap]) -> Figure:
    """First rows of each A as maps on the token grid, beside their difference from the identity."""
    if bases:
        size = len(bases[0].host_order)
        identity = BasisMap("identity", np.eye(size, dtype=np.float32), bases[0].host_order)
        bases = [identity, *bases]
    height = max(1, len(bases))
    figure, axes = plt.subplots(
        height, 2, figsize=(13, 0.95 * height + 0.6), squeeze=False, layout="constrained"
    )
    for line, basis in zip(axes, bases, strict=False):
        difference = basis.weight - np.eye(*basis.weight.shape, dtype=basis.weight.dtype)
        for axis, matrix in zip(line, (basis.weight, difference), strict=True):
            strip = map_strip(matrix, basis.host_order, MAP_ROWS)
            limit = float(np.nanmax(np.abs(strip)))
            axis.imshow(strip, cmap="RdBu_r", vmin=-(limit or 1), vmax=limit or 1)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            axis.set_xlabel(f"colours ±{limit:.2g}", fontsize=7, labelpad=1)
        line[0].set_ylabel(basis.system, rotation=0, ha="right", va="center", fontsize=8)
    if bases:
        axes[0, 0].set_title(f"rows 1 to {min(MAP_ROWS, size)} of A")
        axes[0, 1].set_title("the same rows of A − I")
    else:
        axes[0, 0].set_title(NO_BASIS)
    return figure


def map_strip(
    matrix: Float[np.ndarray, "m n"], host_order: Int64[np.ndarray, " n"], rows: int
) -> Float[np.ndarray, "h w"]:
    """The first rows of a matrix as square maps side by side, NaN between them.

    Raises: ValueError if the number of tokens is no square.
    """
    side = math.isqrt(len(host_order))
    if side**2 != len(host_order):
        raise ValueError(f"host_order has {len(host_order)} tokens, which is no square grid")
    gap = np.full((side, 1), np.nan, dtype=matrix.dtype)
    parts = []
    for row in matrix[:rows]:
        raster = np.empty_like(row)
        raster[host_order] = row
        parts += [raster.reshape(side, side), gap]
    return np.concatenate(parts[:-1], axis=1)


def fid_overview(points: Sequence[Point], floors: dict[str, float]) -> Figure:
    """Measured FID of every system with error bars; published values in a panel of their own."""
    figure, (ours, theirs) = plt.subplots(
        1, 2, figsize=(10, 0.24 * len(points) + 1.4), sharey=True, layout="constrained"
    )
    for position, point in enumerate(points):
        ours.plot(point.seeds, [position] * len(point.seeds), "o", color="0.7", markersize=3)
        ours.errorbar(
            point.value, position, xerr=point.spread, fmt="o", color="C0", markersize=4, capsize=2
        )
        theirs.plot(point.published, [position] * len(point.published), "D", color="C1", ms=4)
    for style, (name, value) in zip(cycle((":", "--", "-.")), floors.items(), strict=False):
        ours.axvline(
            value, color="0.4", linewidth=0.9, linestyle=style, label=f"reconstruction, {name}"
        )
    if floors:
        figure.legend(loc="outside lower left", fontsize=7.5, ncols=len(floors))
    ours.set_yticks(range(len(points)), [point.system for point in points], fontsize=7.5)
    ours.set(ylim=(len(points) - 0.5, -1), xlim=(0, None))
    ours.set(title="measured here", xlabel="FID, grey: seeds")
    theirs.set(title="published (ImageNet 256x256)", xlabel="FID-50K", xlim=(0, None))
    return figure


def contact_sheet(pictures: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Sample grids with captions; wide grids stand in fewer columns."""
    aspect = max((picture.shape[0] / picture.shape[1] for _, picture in pictures), default=1.0)
    columns = COLUMNS if aspect > 0.7 else COLUMNS // 2
    lines, width = max(1, math.ceil(len(pictures) / columns)), 2.3 * COLUMNS / columns
    size = (width * columns, (width * aspect + 0.3) * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (caption, picture) in zip(axes.flat, pictures, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=7.5)
    return figure


def save(makers: Mapping[str, Callable[[], Figure]], folder: Path) -> None:
    """Draw the named figures and write them, each at once or not at all."""
    matplotlib.use("Agg")
    with plt.rc_context(STYLE):
        for name, make in makers.items():
            figure = make()
            write_atomic(folder / name, figure.savefig)
            plt.close(figure)
            print(folder / name, flush=True)
