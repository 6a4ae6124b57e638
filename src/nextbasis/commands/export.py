"""`nextbasis export`: an imported model goes back into the official layout."""

import argparse
from typing import Any

from nextbasis.commands.arguments import read_path
from nextbasis.commands.report import print_report

EXAMPLE = "nextbasis export models/xar_b xAR-B-again.pth"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "export",
        help="write an imported model back in the official layout",
        description="Write what `nextbasis import` made as a PyTorch file that the official code "
        "reads; the tensors are those imported, bit for bit.",
    )
    command.add_argument(
        "folder", metavar="FOLDER", type=read_path, help="made by nextbasis import"
    )
    command.add_argument("out", metavar="OUT", type=read_path, help="file to write; must not exist")
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Write the file and print what is in it."""
    from nextbasis.official.folders import export_folder

    print_report(export_folder(given.folder, given.out))
    return 0
