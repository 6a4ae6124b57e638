"""`nextbasis bases`: the named bases y = A x and their numbers on a grid."""

import argparse
from typing import Any

from nextbasis.commands.arguments import read_grid

EXAMPLE = "nextbasis bases --grid 8x8"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "bases",
        help="the named bases y = A x and their numbers on a grid",
        description="Print method, shape, rank, kind, condition number, inverse error, noise gain "
        "and number of steps of each basis. The options are those that `make` takes from Python.",
    )
    command.add_argument("names", metavar="NAME", nargs="*", help="bases to list; else all")
    command.add_argument(
        "--grid", metavar="ROWSxCOLUMNS", default="16x16", help="of the tokens (16x16)"
    )
    command.set_defaults(action=run, takes=lambda word: True)


def run(given: argparse.Namespace) -> int:
    """Print the table."""
    from nextbasis.basis.listing import listing

    height, width = read_grid(given.grid)
    print(listing([*given.names, *given.late], height, width))
    return 0
