"""One step of the order in which to run the papers' scales: its runs, their cost, its command."""

import shlex
from dataclasses import dataclass

from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages
from nextbasis.plan.estimate import assumptions, estimate
from nextbasis.plan.paper import Costs, read_page, total
from nextbasis.plan.runs import check_root, runs_of

PROFILE = "profiles/slurm"


@dataclass(frozen=True, kw_only=True)
class Step:
    """An entry of `page.steps` in config/plan.yaml."""

    number: int  # from 1, as `nextbasis plan --order` counts
    name: str
    scale: str
    runs: tuple[str, ...]
    hours: Costs  # GPU-hours of training and sampling
    dollars: Costs
    targets: tuple[str, ...]  # files that Snakemake is asked for: the scores of all evaluations
    confirm: float  # GPU-hours above which its command is given on confirmation only

    @property
    def command(self) -> str:
        """What a shell is told to run the step; --config takes all words up to the next option."""
        words = ["snakemake", "--config", f"scale={self.scale}", "--profile", PROFILE]
        return shlex.join([*words, *self.targets])

    @property
    def is_large(self) -> bool:
        """Whether it takes more than `confirm` GPU-hours on the slowest GPU."""
        return max(self.hours.values()) > self.confirm


def find_step(number: int) -> Step:
    """A step by its number.

    Raises: FileNotFoundError if this is not the repository's root; ValueError if there is no such
    step, saying how many there are.
    """
    check_root()
    page = read_page()
    steps = page["steps"]
    if not 1 <= number <= len(steps):
        raise ValueError(
            f"--step must lie in 1..{len(steps)}, the steps of `nextbasis plan --order`; "
            f"got {number}"
        )
    entry = steps[number - 1]
    scale, names = entry["scale"], tuple(entry["runs"])
    assumed = assumptions(scale, None)
    rows = [estimate(run, assumed) for run in runs_of(scale, names)]
    parts = [row["training_hours"] for row in rows]
    parts += [sampled["hours"] for row in rows for sampled in row["sampling"]]
    hours, keys = total(parts), {sampled["eval"] for row in rows for sampled in row["sampling"]}
    scores = [s for s in load_stages(load_catalog(), only=[scale]) if s.kind == "score"]
    return Step(
        number=number,
        name=entry["name"],
        scale=scale,
        runs=names,
        hours=hours,
        dollars={name: value * page["dollars"][name] for name, value in hours.items()},
        targets=tuple(path for stage in scores if stage.key in keys for path in stage.outs),
        confirm=page["confirm"],
    )
