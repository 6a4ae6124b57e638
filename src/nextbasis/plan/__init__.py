"""What a run will cost: FLOPs, memory and GPU-hours, from configs alone; nothing is allocated."""

import json
from collections.abc import Sequence
from typing import Literal

from nextbasis.plan.estimate import assumptions, estimate
from nextbasis.plan.page import order, pages
from nextbasis.plan.runs import check_root, runs_of
from nextbasis.plan.runtimes import render as render_runtimes
from nextbasis.plan.runtimes import runtimes
from nextbasis.plan.table import render

Form = Literal["table", "json", "runtimes", "markdown", "order"]


def plan(
    scale: str, keys: Sequence[str] = (), gpus: int | None = None, form: Form = "table"
) -> str:
    """The costs of the runs named, or of all of a scale, as a table, JSON or runtimes.yaml.

    Of one of the papers' scales also the tables of docs/paper-scale.md (markdown), and of all of
    them the order in which to run (order).

    Raises: FileNotFoundError if this is not the repository's root; ValueError for unknown names.
    """
    if form in ("markdown", "order"):
        if keys:
            raise ValueError(f"--{form} is of all runs; leave out --run {keys[0]}")
        check_root()
        return order() if form == "order" else pages(scale, gpus)
    runs = runs_of(scale, keys)
    assumed = assumptions(scale, gpus)
    rows = [estimate(each, assumed) for each in runs]
    if form == "table":
        return render(rows, assumed)
    if form == "runtimes":
        return render_runtimes(scale, runtimes(rows))
    words = {"gpus": assumed.gpus, "utilisation": assumed.utilisation, "counts": assumed.counts}
    return json.dumps({"scale": scale, "assumptions": words, "runs": rows}, indent=2)
