"""The command line: which commands there are, and what becomes of what they were told."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from nextbasis import __version__
from nextbasis.commands import (
    bases,
    compare,
    completion,
    demo,
    diff,
    doctor,
    export,
    export_samples,
    geneval,
    import_,
    plan,
    prompts,
    reference,
    sample,
    score,
    share,
    status,
    try_,
    verify,
)
from nextbasis.support.endings import STOPPED, write_any_text
from nextbasis.support.words import nearest


class Command(Protocol):
    """What the file of a command has."""

    EXAMPLE: str

    def add(self, commands: Any) -> None:
        """Add the command's parser, whose default `action` is `run`, to the command line's."""

    def run(self, given: argparse.Namespace) -> int:
        """Do it; the exit status.

        Raises: ValueError or OSError naming what was told wrongly, or what is missing.
        """


COMMANDS: tuple[Command, ...] = (
    import_,
    export,
    sample,
    share,
    plan,
    bases,
    diff,
    status,
    verify,
    doctor,
    completion,
    score,
    reference,
    export_samples,
    compare,
    try_,
    demo,
    prompts,
    geneval,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input is one line on standard error and an exit status of its own."""
    write_any_text()
    parser = command_line()
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        parser.print_help()
        return 0
    parsers, word = parser.get_default("parsers"), arguments[0]
    if not word.startswith("-") and word not in parsers:
        choices = nearest(parsers, word)
        parser.error(f"there is no command '{word}'; the commands are {choices} (--help: all)")
    given, rest = parser.parse_known_args(arguments)
    # argparse knows no positional arguments behind options: a command may take them as `late`
    given.late = [word for word in rest if not word.startswith("-") and given.takes(word)]
    if len(given.late) < len(rest):
        parsers[given.command].error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if os.getcwd() not in sys.path:  # as `python -m` does: a module that lies here has a basis
            sys.path.insert(0, os.getcwd())
        status = given.action(given)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED + signal.SIGPIPE
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return given.bad_input
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return STOPPED + signal.SIGINT


def command_line() -> argparse.ArgumentParser:
    """All commands, each with an example."""
    parser = argparse.ArgumentParser(
        prog="nextbasis",
        description="Read and write official checkpoints; score samples; list the bases; "
        "estimate what a run will cost; compare versions; look for what is missing. Run it from "
        "the repository's root. Results are made by `make tables`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nextbasis {__version__}")
    # A command may set these itself: which late words it takes, its exit status for bad input
    parser.set_defaults(takes=lambda word: False, bad_input=1)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    parser.set_defaults(parsers=commands.choices)
    width = max(map(len, commands.choices))
    examples = [
        f"  {name:<{width}}  {command.EXAMPLE}"
        for name, command in zip(commands.choices, COMMANDS, strict=True)
    ]
    parser.epilog = "\n".join(["examples:", *examples])
    return parser
