"""`nextbasis plan`: what the runs of a scale, or a step through the papers' scales, will cost."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from nextbasis.commands.arguments import add_scale
from nextbasis.commands.report import print_report

if TYPE_CHECKING:
    from nextbasis.plan.steps import Step

EXAMPLE = "nextbasis plan --scale imagenet256 --run xar_b_bar"
FORMS = {  # other than a table
    "json": "all numbers, for programs",
    "runtimes": "minutes and GPUs that a cluster should give each job: the scale's runtimes.yaml",
    "markdown": "hours, dollars, storage and claims of one of the papers' scales: "
    "docs/paper-scale.md",
    "order": "the same page's order in which to run all of these scales",
}


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "plan",
        help="what the runs of the catalog will cost",
        description="Print parameters, tokens, FLOPs per image, steps, memory per GPU and "
        "estimated GPU-hours of a scale's runs, and what was assumed. Nothing is trained, "
        "downloaded or allocated.",
    )
    add_scale(command)
    command.add_argument(
        "--run", metavar="KEY", action="append", default=[], help="one run, repeatable; else all"
    )
    command.add_argument(
        "--gpus",
        metavar="N",
        type=_count,
        help="GPUs that share a batch (as few as end in a week)",
    )
    forms = command.add_mutually_exclusive_group()
    for form, text in FORMS.items():
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=text)
    forms.add_argument(
        "--step",
        metavar="N",
        type=_count,
        help="one step of --order: its runs, what they cost and its command; with its own scale",
    )
    command.add_argument(
        "--command",
        dest="only_command",
        action="store_true",
        help="with --step: print the command alone, after a confirmation if it is a large one",
    )
    command.add_argument("--yes", action="store_true", help="with --command: do not ask")
    command.set_defaults(action=run, form="table")


def run(given: argparse.Namespace) -> int:
    """Print the costs, or a step and its command; 1 if a large step is not confirmed.

    Raises: ValueError for unknown names, and where nobody can be asked to confirm.
    """
    if given.step is not None:
        return _step(given)
    if given.only_command or given.yes:
        word = "--command" if given.only_command else "--yes"
        raise ValueError(f"{word} is of one step: add --step N; --order lists the steps")
    from nextbasis.plan import plan

    print(plan(given.scale, given.run, given.gpus, given.form))
    return 0


def _step(given: argparse.Namespace) -> int:
    from nextbasis.plan.steps import find_step
    from nextbasis.plan.table import number

    if given.run:
        raise ValueError(f"--step has runs of its own; leave out --run {given.run[0]}")
    step = find_step(given.step)
    if given.only_command:
        if step.is_large and not given.yes and not _confirmed(step):
            return 1
        print(step.command)
        return 0
    hours = ", ".join(
        f"{number(value)} on {name} (${number(step.dollars[name])})"
        for name, value in step.hours.items()
    )
    report = {"step": f"{step.number}. {step.name}", "scale": step.scale}
    report |= {"runs": ", ".join(step.runs), "GPU-hours": hours}
    report["needs"] = f"data, weights and tools that `nextbasis doctor --scale {step.scale}` names"
    report["command"] = step.command
    print_report(report)
    return 0


def _confirmed(step: "Step") -> bool:
    """Whether the user says yes to the cost of a large step.

    Raises: ValueError if standard input is no terminal.
    """
    from nextbasis.plan.table import number

    gpu, hours = max(step.hours.items(), key=lambda item: item[1])
    cost = f"step {step.number} takes about {number(hours)} GPU-hours on {gpu}"
    if not sys.stdin.isatty():
        raise ValueError(f"{cost}, more than {step.confirm:g}: add --yes if that is meant")
    print(
        f"{cost}, ${number(step.dollars[gpu])}. Print its command? [y/N] ", end="", file=sys.stderr
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got '{text}'")
    return int(text)
