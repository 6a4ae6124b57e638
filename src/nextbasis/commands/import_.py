"""`nextbasis import`: an official checkpoint becomes a model of this package."""

import argparse
from typing import Any

from nextbasis.commands.arguments import read_grid, read_path, read_values
from nextbasis.commands.report import print_report
from nextbasis.families import names
from nextbasis.tokenizers import kinds

EXAMPLE = "nextbasis import xar xAR-B.pth models/xar_b"
FAMILIES = (*names(), *kinds.published())


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "import",
        help="turn an official checkpoint into a model of this package",
        description="Read an official checkpoint without running code from it, check every "
        "tensor's name and shape, and write safetensors and the model's config into a new folder. "
        "Averaged weights (model_ema, ema, …) are taken where there are some; the report says so.",
        epilog="Sizes are read off the shapes. What shapes do not tell (MAR's numbers of heads, "
        "dropout, …) is that of the released model of these sizes; for other models give it by "
        "--model or KEY=VALUE. A tokenizer's result is a file for the config key "
        "tokenizer.weights. Example: nextbasis import mar checkpoint-last.pth models/mar_b",
    )
    command.add_argument("family", metavar="FAMILY", choices=FAMILIES, help=", ".join(FAMILIES))
    command.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=read_path, help="the official file"
    )
    command.add_argument(
        "out", metavar="OUT", type=read_path, help="folder to make; must not exist"
    )
    command.add_argument(
        "values",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],
        help="values of the config, such as dropout=0.1",
    )
    command.add_argument(
        "--model",
        metavar="NAME",
        default="",
        help="config that the checkpoint must fit: mar_b, another of the family's recipes, a file",
    )
    command.add_argument(
        "--grid",
        metavar="ROWSxCOLUMNS",
        default="",
        help="of the tokens, if it is no square or the file does not tell",
    )
    command.add_argument(
        "--section",
        metavar="NAME",
        default="",
        help="the file's weights that are meant, such as model, in place of averaged ones",
    )
    command.set_defaults(action=run, takes=lambda word: "=" in word)


def run(given: argparse.Namespace) -> int:
    """Write the new folder and print what was read."""
    from nextbasis.official.folders import import_file

    grid = read_grid(given.grid) if given.grid else None
    words = [*given.values, *given.late]
    values = read_values(words, "encoder_heads=12", "model", "tokenizer", "network")
    told = (given.family, given.checkpoint, given.out, values)
    print_report(import_file(*told, given.model, grid, given.section))
    return 0
