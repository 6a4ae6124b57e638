"""`nextbasis completion`: a script that completes commands in a shell."""

import argparse
from typing import Any

EXAMPLE = 'eval "$(nextbasis completion bash)"'
SHELLS = ("bash", "zsh", "tcsh")


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "completion",
        help="print a script that completes commands in a shell",
        description="Print a script for the shell; a line in its startup file makes it permanent.",
    )
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Print the script, which is made of the whole command line."""
    import shtab

    from nextbasis.commands.cli import command_line  # here: it imports this file

    print(shtab.complete(command_line(), given.shell))
    return 0
