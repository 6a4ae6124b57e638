"""`nextbasis diff`: what changed between two code versions, and what did it."""

import argparse
from typing import Any

from nextbasis.commands.arguments import read_path

EXAMPLE = "nextbasis diff HEAD~1 HEAD --html diff.html"
BAD_INPUT = 2  # exit status, since 1 says that something moved


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "diff",
        help="what changed between two code versions, and what did it",
        description="Compare all recorded numbers, verdicts, tables, parameters and pictures of "
        "two versions, without checking either out. The exit status is 1 if a number moved by more "
        "than the threshold or a verdict flipped, 2 for bad input, else 0.",
    )
    command.add_argument("old", metavar="REV1", nargs="?", default="HEAD", help="revision (HEAD)")
    command.add_argument(
        "new", metavar="REV2", nargs="?", default="", help="revision (the working tree)"
    )
    command.add_argument(
        "--threshold", type=float, default=2.0, help="in standard deviations over seeds (2)"
    )
    command.add_argument("--speeds", action="store_true", help="also those, never the same twice")
    command.add_argument(
        "--html", metavar="FILE", type=read_path, help="write a page with pictures"
    )
    command.add_argument("--json", action="store_true", help="all of it, for programs")
    command.set_defaults(action=run, bad_input=BAD_INPUT)


def run(given: argparse.Namespace) -> int:
    """Print the report; 1 if something moved."""
    from nextbasis.diff import diff

    told = (given.threshold, given.html, given.json, given.speeds)
    text, moved = diff(given.old, given.new, *told)
    print(text)
    return int(moved)
