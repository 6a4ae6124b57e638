"""The forest plot of the papers' claims: every measured difference of FID with its interval."""

from textwrap import shorten

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLOURS = {"reproduced": "C2", "contradicted": "C3", "no effect larger than published": "C0"}
STATEMENT = 80  # characters of a claim's statement beside its interval
OPEN = "0.45"  # colour of what is not decided
NOTHING = "no difference of FID was measured at this scale"


def shown_of(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that are drawn: measured differences of FID that the scale speaks about."""
    return comparisons[
        (comparisons["metric"] == "fid")
        & (comparisons["effect_is"] == "difference")
        & comparisons["effect"].notna()
        & (comparisons["verdict"] != "not tested")
    ]


def forest(comparisons: pd.DataFrame) -> Figure:
    """Differences of FID with the intervals that decide, one line a comparison, grouped by claim.

    `comparisons` is the ledger's comparisons.csv. A grey band reaches as far as the published
    effect, in per cent of the baseline measured here. A comparison without an interval has a hollow
    point. Claims that the scale does not speak about are left out.
    """
    shown = shown_of(comparisons).iloc[::-1]
    numbers = shown[["effect", "low_deciding", "high_deciding", "margin"]].to_numpy(float)
    colours = [COLOURS.get(verdict, OPEN) for verdict in shown["verdict"]]
    figure, axis = plt.subplots(figsize=(9, 0.27 * max(4, len(shown)) + 1.3), layout="constrained")
    axis.axvline(0, color="0.2", linewidth=0.9)
    for position, ((effect, low, high, margin), colour) in enumerate(
        zip(numbers, colours, strict=True)
    ):
        if not np.isnan(margin):
            axis.barh(position, 2 * margin, 0.8, -margin, color="0.9")
        if not np.isnan(low):
            axis.hlines(position, low, high, colour, linewidth=1.4)
        fill = "w" if np.isnan(low) else colour
        axis.plot(effect, position, "o", color=colour, mfc=fill, markersize=4.5)
    alone = ~shown["claim"].duplicated(keep=False)
    names = [
        statement if single else f"{claim}: {pair}"
        for statement, claim, pair, single in zip(
            shown["statement"].map(lambda text: shorten(text, STATEMENT, placeholder=" …")),
            shown["claim"],
            shown["comparison"],
            alone,
            strict=True,
        )
    ]
    axis.set_yticks(range(len(shown)), names, fontsize=7)
    axis.set_ylim(-0.7, len(shown) - 0.3)
    axis.grid(False, axis="y")
    axis.set_xlabel("FID of the first system minus that of the second; bars: interval that decides")
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4.5, label=verdict)
        for verdict, colour in (*COLOURS.items(), ("undecided", OPEN))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7.5)
    axis.set_title("What this scale says of the papers' claims" if len(shown) else NOTHING)
    return figure
