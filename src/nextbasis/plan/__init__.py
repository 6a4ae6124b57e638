"""What a run will cost: FLOPs, memory and GPU-hours, from configs alone; nothing is allocated."""

import json
from collections.abc import Sequence
from typing import Literal

from nextbasis.plan.estimate import assumptions, estimate
from nextbasis.plan.runs import runs_of
from nextbasis.plan.runtimes import render as render_runtimes
from nextbasis.plan.runtimes import runtimes
from nextbasis.plan.table import render

Form = Literal["table", "json", "runtimes"]


def plan(
    scale: str, keys: Sequence[str] = (), gpus: int | None = None, form: Form = "table"
) -> str:
    """The costs of the runs named, or of all of a scale, as a table, JSON or config/runtimes.yaml.

    Raises: FileNotFoundError if this is not the repository's root; ValueError for unknown names.
    """
    runs = runs_of(scale, keys)
    assumed = assumptions(scale, gpus)
    rows = [estimate(each, assumed) for each in runs]
    if form == "table":
        return render(rows, assumed)
    if form == "runtimes":
        return render_runtimes(scale, runtimes(rows))
    words = {"gpus": assumed.gpus, "utilisation": assumed.utilisation, "counts": assumed.counts}
    return json.dumps({"scale": scale, "assumptions": words, "runs": rows}, indent=2)
