"""The command line: checkpoints, samples, bases, costs, what changed, what is missing."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from nextbasis.options import command_line
from nextbasis.outside.options import COMMANDS

GRID = re.compile(r"(\d+)x(\d+)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 1, with one line on standard error, for bad input."""
    parser = command_line()
    given, rest = parser.parse_known_args(arguments)
    # argparse knows no positional arguments behind options
    late = [word for word in rest if not word.startswith("-") and _fits(word, given.command)]
    if len(late) < len(rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if given.command == "import":
            _import(given, [*given.values, *late])
        elif given.command in COMMANDS:
            _samples(given)
        elif given.command == "export":
            _export(given)
        elif given.command == "bases":
            _bases(given, late)
        elif given.command == "diff":
            return _diff(given)
        elif given.command == "share":
            _share(given)
        elif given.command == "doctor":
            return _doctor(given)
        elif given.command == "completion":
            _completion(parser, given)
        else:
            _plan(given)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if given.command == "diff" else 1  # 1 says there that something moved
    return 0


def _fits(word: str, command: str) -> bool:
    """Whether a word behind options can be one of the command's own."""
    return command == "bases" or (command == "import" and "=" in word)


def _import(given: argparse.Namespace, words: list[str]) -> None:
    # Imported here and below: each takes seconds, and --help needs none of them.
    from nextbasis.official.folders import import_file

    grid = _grid(given.grid) if given.grid else None
    report = import_file(
        given.family, given.checkpoint, given.out, _values(words), given.model, grid
    )
    _print(report)


def _export(given: argparse.Namespace) -> None:
    from nextbasis.official.folders import export_folder

    _print(export_folder(given.folder, given.out))


def _samples(given: argparse.Namespace) -> None:
    from nextbasis.outside.commands import run

    _print(run(given))


def _plan(given: argparse.Namespace) -> None:
    from nextbasis.plan import plan

    print(plan(given.scale, given.run, given.gpus, given.form))


def _bases(given: argparse.Namespace, late: list[str]) -> None:
    from nextbasis.listing import listing

    height, width = _grid(given.grid)
    print(listing([*given.names, *late], height, width))


def _diff(given: argparse.Namespace) -> int:
    from nextbasis.diff import diff

    text, moved = diff(given.old, given.new, given.threshold, given.html, given.json)
    print(text)
    return int(moved)


def _share(given: argparse.Namespace) -> None:
    from nextbasis.share import share

    _print(share(given.scale, given.run, given.out))


def _doctor(given: argparse.Namespace) -> int:
    from nextbasis.doctor import examine, text

    checks = examine(given.scale)
    print(text(checks))
    return int(any(check.advice for check in checks))


def _completion(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(parser, given.shell))


def _print(report: dict[str, str]) -> None:
    width = max(map(len, report))
    for name, text in report.items():
        print(f"{name:<{width}}  {text}")


def _values(words: list[str]) -> dict[str, Any]:
    """`key=value` as YAML reads the value; a section's name in front of the key is left out."""
    values = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            raise ValueError(f"'{word}' is no KEY=VALUE, such as encoder_heads=12")
        try:
            values[name.rpartition(".")[2]] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"'{word}': the value is no YAML") from error
    return values


def _grid(text: str) -> tuple[int, int]:
    if (match := GRID.fullmatch(text)) is None:
        raise ValueError(f"--grid must be ROWSxCOLUMNS, such as 16x16; got '{text}'")
    return int(match[1]), int(match[2])
