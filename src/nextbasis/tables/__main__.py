"""Render one result table, or print one that is rendered: a plain rule, not a DVC stage."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nextbasis.claims.pairs import judge
from nextbasis.pipeline.catalog import Catalog, section, systems_of, table_of
from nextbasis.pipeline.checks import check_table
from nextbasis.support.endings import in_one_line
from nextbasis.support.files import result_folder, write_text
from nextbasis.tables import external, header, layout, measured, outside, published, render, sofar
from nextbasis.tables.inputs import FORMATS, PUBLISHED, TEMPLATES, table_evals


def build(catalog: Catalog, scale: str, table: str) -> layout.Layout:
    """Read everything a table shows and lay it out.

    Raises: ValueError for unknown names, FileNotFoundError for results that were not made.
    """
    check_table(catalog, table)
    frame = measured.collect(catalog, scale, systems_of(table_of(catalog, table)))
    measured.check_budgets(frame, catalog, table)
    facts = header.facts(catalog, scale, table)
    numbers = (frame, published.load(PUBLISHED))
    heading = (facts, header.warning(catalog, scale))
    rows = external.load(scale)
    if evals := table_evals(catalog, scale, table):
        first = measured.read_score(scale, "score", next(iter(evals)))
        external.check_comparable(rows, first["protocol"])
    judged = {}
    if table_of(catalog, table)["kind"] == "pairs":
        judged = judge(catalog, scale, table, numbers[1])
    return layout.Builder(catalog, scale, table, numbers, heading, rows, judged).build()


def write(catalog: Catalog, scale: str, table: str, folder: Path) -> None:
    """Write <folder>/<table>.{md,tex,html,csv}; the table `outside` is that of outside.py."""
    ready = outside.build(catalog, scale) if table == outside.NAME else build(catalog, scale, table)
    texts = {suffix: render.render(ready, suffix, TEMPLATES) for suffix in FORMATS}
    for suffix, text in texts.items():
        write_text(folder / f"{table}.{suffix}", text)
    print(f"{len(ready.rows)} rows in {folder / table}.{{{','.join(FORMATS)}}}")


def show(catalog: Catalog, scale: str, table: str) -> str:
    """The Markdown of a rendered table.

    Raises: FileNotFoundError naming the command that renders it.
    """
    table_of(catalog, table)
    section(catalog, scale)
    path = result_folder(scale, "tables") / f"{table}.md"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `snakemake --cores 2 {path}` makes it")
    return path.read_text(encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and do it; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser(prog="python -m nextbasis.tables", description=__doc__)
    parser.add_argument("--scale", default="cpu", help="a folder of config/scales")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--table", help="table to render, an entry of config/tables.yaml")
    choice.add_argument(
        "--outside",
        dest="table",
        action="store_const",
        const=outside.NAME,
        help="render the samples that `nextbasis score` scored, alone; needs no other result",
    )
    choice.add_argument(
        "--print", dest="shown", metavar="TABLE", help="rendered table to print as Markdown"
    )
    sofar.add_so_far(parser)
    parser.add_argument("--out", type=Path, help="folder; default: results/SCALE/tables")
    options = parser.parse_args(arguments)
    with in_one_line():
        catalog = sofar.chosen_catalog(options)
        if options.shown:
            print(show(catalog, options.scale, options.shown))
        else:
            folder = options.out or result_folder(options.scale, "tables")
            write(catalog, options.scale, options.table, folder)
            if options.table == outside.NAME:
                print((folder / f"{outside.NAME}.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
