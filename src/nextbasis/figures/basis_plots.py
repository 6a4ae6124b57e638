"""Figures of diagnosed bases as pure functions of numbers: energy, predictability, the KLT."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nextbasis.families import find

NO_DIAGNOSIS = "no basis is diagnosed at this scale"
COLUMNS = 3  # panels side by side where each run has its own


@dataclass(frozen=True)
class Diagnosed:
    """The metrics.json of one diagnosis, and what its run is."""

    key: str
    family: str
    tokens: str
    values: dict[str, Any]


def energy_profile(found: Sequence[Diagnosed]) -> Figure:
    """Cumulative energy of the coefficients, in order of prediction, beside KLT and identity."""

    def panel(axis: Axes, group: Sequence[Diagnosed]) -> None:
        for label, style in (("KLT", "-"), ("identity", "--")):
            values = group[0].values[f"cumulative_energy_{label.lower()}"]
            axis.plot(_counts(values), values, color="0.35", linestyle=style, label=label)
        for one in group:
            values = one.values["cumulative_energy"]
            axis.plot(_counts(values), values, label=one.key, linewidth=1.1)
        axis.set(ylabel="share of energy", ylim=(0, 1.02), xlim=(0, None))
        axis.set_xlabel("first coefficients")

    return _by_tokens(found, panel, "energy in the first coefficients")


def klt_overlap(found: Sequence[Diagnosed]) -> Figure:
    """How much of the first KLT rows the first rows of each A span, beside random rows."""

    def panel(axis: Axes, group: Sequence[Diagnosed]) -> None:
        rows = np.array(max((one.values["klt_overlap_rows"] for one in group), key=len))
        chance = rows / group[0].values["num_tokens"]
        axis.plot(rows, chance, color="0.35", linestyle="--", label="random rows")
        for one in group:
            lengths, values = one.values["klt_overlap_rows"], one.values["klt_overlap"]
            axis.plot(lengths, values, "o-", label=one.key, linewidth=1.1, markersize=3)
        axis.set_xscale("log", base=2)
        axis.set_xticks(rows, [str(row) for row in rows])
        axis.set(ylabel="mean squared cosine", ylim=(0, 1.02), xlabel="first rows k")

    return _by_tokens(found, panel, "overlap of the first rows of A with as many KLT rows")


def smuggling(found: Sequence[Diagnosed]) -> Figure:
    """Mean square of every coefficient, and what the earlier ones leave to predict of it."""
    columns = min(COLUMNS, max(1, len(found)))
    lines = max(1, math.ceil(len(found) / columns))
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(1 + 3.2 * columns, 0.6 + 2.4 * lines),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    for axis, one in zip(axes.flat, found, strict=False):
        variance = np.array(one.values["variance"])
        left = np.array(one.values["conditional_variance"])
        left[left == 0] = np.nan  # determined: nothing to show on a logarithmic axis
        index = _counts(variance)
        axis.plot(index, variance, color="C0", linewidth=1.1, label="$v_l$: mean square")
        axis.plot(index, left, color="C3", linewidth=1.1, label="$s_l$: given the earlier ones")
        axis.set_yscale("log")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_title(one.key, fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("energy per channel\n(1: a standardised token)")
    for axis in axes[-1]:
        axis.set_xlabel("coefficient l")
    if found:
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    else:
        axes[0, 0].set_title(NO_DIAGNOSIS)
    return figure


def _by_tokens(
    found: Sequence[Diagnosed],
    panel: Callable[[Axes, Sequence[Diagnosed]], None],
    title: str,
) -> Figure:
    """One panel for all bases of the same tokens in the same order: family and tokenizer."""
    groups: dict[tuple[str, str], list[Diagnosed]] = {}
    for one in found:
        groups.setdefault((one.family, one.tokens), []).append(one)
    lines = max(1, len(groups))
    figure, axes = plt.subplots(
        lines, 1, figsize=(9, 3.4 * lines), squeeze=False, layout="constrained"
    )
    axes[0, 0].set_title(NO_DIAGNOSIS)
    for axis, ((family, tokens), group) in zip(axes[:, 0], groups.items(), strict=False):
        panel(axis, group)
        axis.set_title(f"{find(family).title} on tokens {tokens}: {title}")
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5)
    return figure


def _counts(values: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.arange(1, len(values) + 1)
