"""How long and on how many GPUs the jobs of a scale run: runtimes.yaml of the scale's folder."""

import math
from typing import Any

MARGIN = 2.0  # an estimate is a guess; a job that exceeds it is killed and resumes
LEAST, STEP = 60, 30  # minutes, of any job and between two values
MOST = 7 * 24 * 60  # minutes; a longer training goes on where its last checkpoint is
HEADER = """\
# Minutes that jobs may run: those of their FLOPs on an A100 (config/plan.yaml) times {margin:g},
# between {least} and {most}; trainings on the fewest GPUs with which they are below {most}.
# Made by `nextbasis plan --scale {scale} --runtimes`; DVC does not track this file.
"""


def runtimes(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, int]]]:
    """GPUs and minutes on the slowest of them by stage kind and key; sampling has one GPU."""
    train = {
        row["run"]: {
            "gpu": row["gpus"],
            "runtime": minutes(max(row["training_hours"].values()) / row["gpus"]),
        }
        for row in rows
    }
    sample = {
        entry["eval"]: {"runtime": minutes(max(entry["hours"].values()))}
        for row in rows
        for entry in row["sampling"]
    }
    return {"train": train, "sample": sample}


def minutes(hours: float) -> int:
    """Hours as whole steps of minutes, with the margin, within the bounds."""
    wanted = math.ceil(hours * 60 * MARGIN / STEP) * STEP
    return min(max(wanted, LEAST), MOST)


def render(scale: str, found: dict[str, dict[str, dict[str, int]]]) -> str:
    """The file's text, a line a job."""
    lines = [HEADER.format(margin=MARGIN, least=LEAST, most=MOST, scale=scale)]
    for kind, jobs in found.items():
        lines.append(f"{kind}:")
        for key, values in jobs.items():
            words = ", ".join(f"{name}: {value}" for name, value in values.items())
            lines.append(f"  {key}: {{{words}}}")
    return "\n".join(lines)
