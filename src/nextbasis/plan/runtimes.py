"""How long a cluster lets the jobs of a scale run, from what they cost: config/runtimes.yaml."""

import math
from typing import Any

import yaml

from nextbasis.plan.estimate import Assumptions

MARGIN = 2.0  # an estimate is a guess; a job that exceeds it is killed and resumes
LEAST, STEP = 60, 30  # minutes, of any job and between two values
MOST = 7 * 24 * 60  # minutes; a longer training goes on where its last checkpoint is
HEADER = """\
# Minutes that jobs may run: those of their FLOPs on an A100 (config/plan.yaml) times {margin:g},
# between {least} and {most}. Made by `nextbasis plan --scale {scale} --runtimes`; jobs of other
# kinds have those of resources.yaml. DVC does not track this file.
"""


def runtimes(rows: list[dict[str, Any]], assumed: Assumptions) -> dict[str, dict[str, int]]:
    """Minutes by stage kind and key; a training shares `assumed.count` GPUs, sampling has one."""
    slowest = min(assumed.gpus, key=lambda name: assumed.gpus[name])
    train = {row["run"]: minutes(row["training_hours"][slowest] / assumed.count) for row in rows}
    sample = {
        entry["eval"]: minutes(entry["hours"][slowest]) for row in rows for entry in row["sampling"]
    }
    return {"train": train, "sample": sample}


def minutes(hours: float) -> int:
    """Hours as whole steps of minutes, with the margin, within the bounds."""
    wanted = math.ceil(hours * 60 * MARGIN / STEP) * STEP
    return min(max(wanted, LEAST), MOST)


def render(scale: str, found: dict[str, dict[str, int]]) -> str:
    """The file's text: one line a job."""
    header = HEADER.format(margin=MARGIN, least=LEAST, most=MOST, scale=scale)
    return header + yaml.safe_dump({scale: found}, sort_keys=False).rstrip()
