"""Time training steps, samplers and A on one thread: `python -m benchmarks` (or `make bench`)."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import basis_report
from benchmarks.basis_cost import SIDES, basis_costs
from benchmarks.definition import ROWS, Row
from benchmarks.measure import machine, measure
from benchmarks.report import page, record
from benchmarks.work import work
from nextbasis.files import write_atomic, write_json

RESULTS = Path(__file__).parent / "results"


def chosen(prefixes: list[str]) -> tuple[list[Row], list[str]]:
    """Rows, and sizes of A, whose key starts with one of these; all without any.

    Raises: ValueError if a prefix fits neither.
    """
    keys = [row.key for row in ROWS] + list(SIDES)
    for prefix in prefixes:
        if not any(key.startswith(prefix) for key in keys):
            raise ValueError(f"--only {prefix} fits no row; the rows are {', '.join(keys)}")
    wanted = tuple(prefixes) or ("",)
    rows = [row for row in ROWS if row.key.startswith(wanted)]
    return rows, [key for key in SIDES if key.startswith(wanted)]


def run(rows: list[Row], repeats: int) -> list[dict[str, Any]]:
    """Measure rows one after another; tells how far it is on stderr."""
    records = []
    for count, row in enumerate(rows, 1):
        print(f"{count}/{len(rows)} {row.key} ...", end=" ", file=sys.stderr, flush=True)
        call, images, parameters = work(row)
        done = record(row, measure(call, repeats), images, parameters)
        told = f"{done['images_per_cpu_second']:.2f} images per CPU second, {done['ratio']:.2f}x"
        print(told, file=sys.stderr, flush=True)
        records.append(done)
    return records


def main(arguments: list[str]) -> None:
    """Measure, then print the table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PREFIX",
        help="measure only rows whose key starts so: "
        + ", ".join([*(row.key for row in ROWS), *SIDES]),
    )
    parser.add_argument("--repeats", type=int, default=5, help="timed calls per row (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--write", action="store_true", help="also write benchmarks/results.md and results.json"
    )
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    try:
        rows, sizes = chosen(options.only)
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    result: dict[str, Any] = {"machine": machine(), "rows": run(rows, options.repeats)}
    result["basis"] = basis_costs(sizes, options.repeats)
    parts = [page(result["machine"], result["rows"])] if rows else []
    text = "\n".join(parts + ([basis_report.page(**result["basis"])] if sizes else []))
    print(json.dumps(result, indent=2) if options.json else text)
    if options.write:
        write_json(RESULTS.with_suffix(".json"), result)
        write_atomic(RESULTS.with_suffix(".md"), lambda path: path.write_text(text))


if __name__ == "__main__":
    main(sys.argv[1:])
