"""The forest plot of the papers' claims: every measured effect with its interval."""

from textwrap import shorten

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLOURS = {"reproduced": "C2", "contradicted": "C3", "no effect larger than published": "C0"}
KIND = ["metric", "effect_is"]
PANELS = {  # what the axis shows, by KIND of the comparisons in the panel
    ("fid", "difference"): "FID: first system minus second",
    ("fid", "log ratio"): "FID: first system divided by second",
    ("held_out", "difference"): "loss on test images: first system minus second",
}
STATEMENT = 80  # characters of a claim's statement beside its interval
OPEN = "0.45"  # colour of what is not decided
TITLE = "Claims of the papers; thin: interval that decides, thick: that of each claim by itself"
NOTHING = "no effect on FID or likelihood was measured at this scale"


def shown_of(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that are drawn: measured effects that the scale speaks about."""
    kinds = pd.MultiIndex.from_frame(comparisons[KIND])
    return comparisons[
        kinds.isin(list(PANELS))
        & comparisons["effect"].notna()
        & (comparisons["verdict"] != "not tested")
    ]


def forest(comparisons: pd.DataFrame) -> Figure:
    """Effects with their intervals, one line a comparison, grouped by claim.

    `comparisons` is the ledger's comparisons.csv. Differences of FID stand in one panel, ratios of
    FID in another, differences of the loss on test images in a third. A thin line is the interval
    that decides, at the confidence that all claims together leave; a thick one that of the claim by
    itself. A grey band reaches as far as the published effect, in per cent of the baseline measured
    here. A comparison without an interval has a hollow point. Claims that the scale does not speak
    about are left out.
    """
    shown = shown_of(comparisons)
    found = dict(list(shown.groupby(KIND)))
    panels = {kind: found[kind] for kind in PANELS if kind in found} or {next(iter(PANELS)): shown}
    heights = [max(4, len(rows)) for rows in panels.values()]
    figure, axes = plt.subplots(
        len(panels),
        figsize=(9, 0.27 * sum(heights) + 0.5 * len(panels) + 0.8),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (kind, rows) in zip(axes[:, 0], panels.items(), strict=True):
        _draw(axis, rows.iloc[::-1], is_ratio=kind[1] == "log ratio")
        axis.set_xlabel(PANELS[kind])
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4.5, label=verdict)
        for verdict, colour in (*COLOURS.items(), ("undecided", OPEN))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7.5)
    figure.suptitle(TITLE if len(shown) else NOTHING)
    return figure


def _draw(axis: Axes, rows: pd.DataFrame, is_ratio: bool) -> None:
    """Comparisons of one panel, the first at the bottom, ratios on a logarithmic axis."""
    columns = ["effect", "low", "high", "low_deciding", "high_deciding", "margin"]
    numbers = rows[columns].assign(opposite=-rows["margin"]).to_numpy(float)
    if is_ratio:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}")
        numbers = np.exp(numbers)
    colours = [COLOURS.get(verdict, OPEN) for verdict in rows["verdict"]]
    axis.axvline(1 if is_ratio else 0, color="0.2", linewidth=0.9)
    for position, (colour, line) in enumerate(zip(colours, numbers, strict=True)):
        effect, low_alone, high_alone, low, high, *band = line
        if not np.isnan(band[0]):
            axis.fill_betweenx([position - 0.4, position + 0.4], *band, color="0.9")
        if not np.isnan(low):
            axis.hlines(position, low, high, colour, linewidth=1.2)
            axis.hlines(position, low_alone, high_alone, colour, linewidth=3.2)
        fill = "w" if np.isnan(low) else colour
        axis.plot(effect, position, "o", color=colour, mfc=fill, markersize=4.5)
    alone = ~rows["claim"].duplicated(keep=False)
    names = [
        statement if single else f"{claim}: {pair}"
        for statement, claim, pair, single in zip(
            rows["statement"].map(lambda text: shorten(text, STATEMENT, placeholder=" …")),
            rows["claim"],
            rows["comparison"],
            alone,
            strict=True,
        )
    ]
    axis.set_yticks(range(len(rows)), names, fontsize=7)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.grid(False, axis="y")
