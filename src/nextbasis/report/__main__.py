"""Write the page of one scale: a plain rule, not a DVC stage."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nextbasis.report.page import render
from nextbasis.support.endings import in_one_line
from nextbasis.support.files import write_text
from nextbasis.tables import sofar


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and write; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser(prog="python -m nextbasis.report", description=__doc__)
    parser.add_argument("--scale", default="cpu", help="a folder of config/scales")
    parser.add_argument("--extra", action="store_true", help="also the tables marked extra")
    sofar.add_so_far(parser)
    parser.add_argument("--out", type=Path, help="file; default: results/SCALE/report.html")
    options = parser.parse_args(arguments)
    with in_one_line():
        out = options.out or Path("results") / options.scale / "report.html"
        write_text(out, render(sofar.chosen_catalog(options), options.scale, options.extra))
        print(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
