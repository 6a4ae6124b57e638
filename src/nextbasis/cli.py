"""The command line: official checkpoints and samples in and out, and what a run will cost."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nextbasis.outside.options import COMMANDS, add_parsers

FAMILIES = ("mar", "xar", "rar", "kl16", "maskgit_vqgan")
GRID = re.compile(r"(\d+)x(\d+)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 1, with one line on standard error, for bad input."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    # argparse knows no positional arguments behind options
    late = [word for word in rest if "=" in word and not word.startswith("-")]
    if len(late) < len(rest) or (late and given.command != "import"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if given.command == "import":
            _import(given, [*given.values, *late])
        elif given.command in COMMANDS:
            _samples(given)
        elif given.command == "export":
            _export(given)
        else:
            _plan(given)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _import(given: argparse.Namespace, words: list[str]) -> None:
    # Imported here and below: each takes seconds, and --help needs none of them.
    from nextbasis.official.folders import import_file

    report = import_file(
        given.family, given.checkpoint, given.out, _values(words), given.model, _grid(given.grid)
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

    print(plan(given.scale, given.run, given.gpus, given.json))


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


def _grid(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    if (match := GRID.fullmatch(text)) is None:
        raise ValueError(f"--grid must be ROWSxCOLUMNS, such as 16x16; got '{text}'")
    return int(match[1]), int(match[2])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nextbasis",
        description="Read and write official checkpoints; score samples; estimate what a run "
        "will cost. "
        "Run it from the repository's root. Results are made by `make tables`.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_import(commands)
    _add_export(commands)
    _add_plan(commands)
    add_parsers(commands)
    return parser


def _add_import(commands: Any) -> None:
    command = commands.add_parser(
        "import",
        help="turn an official checkpoint into a model of this package",
        description="Read an official checkpoint without running code from it, check every "
        "tensor's name and shape, and write safetensors and the model's config into a new folder. "
        "Averaged weights (model_ema) are taken where there are some.",
        epilog="Sizes are read off the shapes. What shapes do not tell (MAR's numbers of heads, "
        "dropout, …) is that of the released model of these sizes; for other models give it by "
        "--model or KEY=VALUE. A tokenizer's result is a file for the config key "
        "tokenizer.weights. Example: nextbasis import mar checkpoint-last.pth models/mar_b",
    )
    command.add_argument("family", metavar="FAMILY", choices=FAMILIES, help=", ".join(FAMILIES))
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="the official file")
    command.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist")
    command.add_argument(
        "values", metavar="KEY=VALUE", nargs="*", help="values of the config, such as dropout=0.1"
    )
    command.add_argument(
        "--model",
        metavar="NAME",
        default="",
        help="config that the checkpoint must fit: mar_b, another name below config/model, a file",
    )
    command.add_argument(
        "--grid", metavar="ROWSxCOLUMNS", default="", help="of the tokens, if it is no square"
    )


def _add_export(commands: Any) -> None:
    command = commands.add_parser(
        "export",
        help="write an imported model back in the official layout",
        description="Write what `nextbasis import` made as a PyTorch file that the official code "
        "reads; the tensors are those imported, bit for bit.",
    )
    command.add_argument("folder", metavar="FOLDER", type=Path, help="made by nextbasis import")
    command.add_argument("out", metavar="OUT", type=Path, help="file to write; must not exist")


def _add_plan(commands: Any) -> None:
    command = commands.add_parser(
        "plan",
        help="what the runs of the catalog will cost",
        description="Print parameters, tokens, FLOPs per image, steps, memory per GPU and "
        "estimated GPU-hours of a scale's runs, and what was assumed. Nothing is trained, "
        "downloaded or allocated.",
    )
    command.add_argument("--scale", default="cpu", help="section of config/catalog.yaml (cpu)")
    command.add_argument(
        "--run", metavar="KEY", action="append", default=[], help="one run, repeatable; else all"
    )
    command.add_argument(
        "--gpus",
        metavar="N",
        type=_count,
        help="GPUs that share a batch (that of config/resources.yaml)",
    )
    command.add_argument("--json", action="store_true", help="all numbers, for programs")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got '{text}'")
    return int(text)
