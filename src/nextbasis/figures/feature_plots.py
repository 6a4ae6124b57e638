"""Figures of feature space as pure functions: nearest training images, principal axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

BESIDE = 2  # systems side by side in the picture of neighbours
PANELS = 3  # panels side by side in the picture of axes
CELL = 0.75  # inches of a picture
CLIP = 0.5  # per cent of the points on each side that do not set the limits


@dataclass(frozen=True)
class Row:
    """One sample, followed by its nearest training images with their distances."""

    label: str
    images: UInt8[np.ndarray, "m h w c"]
    distances: list[float]


@dataclass(frozen=True)
class Neighbours:
    """The rows of one system under a title."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Cloud:
    """Images of one system on the principal axes of the real ones."""

    title: str
    points: Float[np.ndarray, "n 2"]


def neighbours(found: Sequence[Neighbours], title: str) -> Figure:
    """Samples, each with its nearest training images; a block for every system."""
    columns = max(len(row.images) for one in found for row in one.rows)
    lines, height = math.ceil(len(found) / BESIDE), max(len(one.rows) for one in found)
    width = BESIDE * (CELL * columns + 0.5)
    figure = plt.figure(
        figsize=(width, lines * ((CELL + 0.2) * height + 0.35) + 0.4), layout="constrained"
    )
    figure.suptitle(title)
    blocks = figure.subfigures(lines, BESIDE, squeeze=False)
    for block, one in zip(blocks.flat, found, strict=False):
        block.suptitle(one.title, fontsize=8)
        axes = block.subplots(height, columns, squeeze=False)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for line, row in zip(axes, one.rows, strict=False):
            line[0].set_ylabel(row.label, fontsize=7)
            captions = ["sample", *(f"{distance:.2f}" for distance in row.distances)]
            for axis, image, caption in zip(line, row.images, captions, strict=False):
                axis.grid(False)
                axis.imshow(
                    image[..., 0] if image.shape[2] == 1 else image, "gray", vmin=0, vmax=255
                )
                axis.set_title(caption, fontsize=7, pad=2)
    return figure


def principal_components(
    real: Float[np.ndarray, "m 2"], clouds: Sequence[Cloud], shares: Float[np.ndarray, " 2"]
) -> Figure:
    """Real images in grey and generated ones in colour, one panel a system, same limits."""
    columns = min(PANELS, len(clouds))
    lines = math.ceil(len(clouds) / columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(3.1 * columns + 0.4, 2.9 * lines + 0.3),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(clouds) :]:
        axis.set_axis_off()
    for axis, cloud in zip(axes.flat, clouds, strict=False):
        for points, colour, label in (
            (real, "0.6", "real test images"),
            (cloud.points, "C3", "samples"),
        ):
            axis.scatter(*points.T, s=3, color=colour, alpha=0.5, linewidths=0, label=label)
        axis.set_title(cloud.title)
    limits = np.percentile(
        np.concatenate([real, *(one.points for one in clouds)]), [CLIP, 100 - CLIP], axis=0
    )
    margin = 0.08 * (limits[1] - limits[0]) + 1e-9
    low, high = limits[0] - margin, limits[1] + margin
    axes[0, 0].set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    figure.supxlabel(f"first principal axis ({shares[0]:.0%} of the variance)", fontsize=9)
    figure.supylabel(f"second principal axis ({shares[1]:.0%})", fontsize=9)
    for axis in axes.flat[max(0, len(clouds) - columns) : len(clouds)]:
        axis.tick_params(labelbottom=True)  # nothing stands below
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, markerscale=3)
    return figure
