"""`nextbasis plan`: what the runs of a scale will cost."""

import argparse
from typing import Any

from nextbasis.commands.arguments import add_scale

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
    command.set_defaults(action=run, form="table")


def run(given: argparse.Namespace) -> int:
    """Print the costs."""
    from nextbasis.plan import plan

    print(plan(given.scale, given.run, given.gpus, given.form))
    return 0


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got '{text}'")
    return int(text)
