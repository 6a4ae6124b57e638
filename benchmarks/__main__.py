"""Time training, sampling, scoring, A, reading on one thread: `python -m benchmarks`."""

import argparse
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before nextbasis holds libraries to what all processors have
    os.environ.setdefault("NEXTBASIS_INSTRUCTIONS", "native")

import torch

from benchmarks import basis_report, loader
from benchmarks.basis_cost import SIDES, basis_costs
from benchmarks.gpu import accelerator, suite
from benchmarks.gpu import page as gpu_page
from benchmarks.loader import LOADER, LoaderRow
from benchmarks.measure import machine, measure, measure_pairs
from benchmarks.official.work import is_known, official
from benchmarks.report import page, paired, record, scoring_record
from benchmarks.scoring import SCORING, ScoringRow, measure_row
from benchmarks.work import ROWS, work
from nextbasis.families.common.speed import Row
from nextbasis.plan.runs import runs_of
from nextbasis.support.files import read_json, write_json, write_text

ROUNDS = 3  # of the official code and ours in turn
SCORING_REPEATS = 2  # at most: a row of scores takes minutes
RESULTS = Path(__file__).parent / "results"


KEYS = [row.key for row in [*ROWS, *SCORING, *LOADER]] + list(SIDES)


def chosen(
    prefixes: list[str],
) -> tuple[list[Row], list[ScoringRow], list[str], list[LoaderRow]]:
    """Rows, sizes of A and rows of reading whose key starts with one of these; all without any.

    Raises: ValueError if a prefix fits neither.
    """
    for prefix in prefixes:
        if not any(key.startswith(prefix) for key in KEYS):
            raise ValueError(f"--only {prefix} fits no row; the rows are {', '.join(KEYS)}")
    starts = tuple(prefixes) or ("",)
    return (
        [row for row in ROWS if row.key.startswith(starts)],
        [row for row in SCORING if row.key.startswith(starts)],
        [key for key in SIDES if key.startswith(starts)],
        [row for row in LOADER if row.key.startswith(starts)],
    )


def run(rows: list[Row], repeats: int, root: Path | None = None) -> list[dict[str, Any]]:
    """Measure rows one after another; tells how far it is on stderr.

    With `root`, a folder of checkouts, official code that is known is measured in turn with ours.
    Raises: FileNotFoundError or ValueError naming a checkout that is not what was expected.
    """
    if root is not None:  # before anything takes minutes
        for first in {row.name: row for row in rows if is_known(row)}.values():
            official(first, root)
    records = []
    for count, row in enumerate(rows, 1):
        print(f"{count}/{len(rows)} {row.key} ...", end=" ", file=sys.stderr, flush=True)
        call, images, parameters = work(row)
        if root is None or not is_known(row):
            done = record(row, measure(call, repeats), images, parameters)
        else:
            ours, theirs = measure_pairs(call, official(row, root), ROUNDS)
            done = record(row, ours, images, parameters) | paired(ours, theirs, images)
        told = f"{done['images_per_cpu_second']:.2f} images per CPU second"
        told += f", {done['ratio']:.2f}x the official code" if "ratio" in done else ""
        print(told, file=sys.stderr, flush=True)
        records.append(done)
    return records


def run_scoring(rows: list[ScoringRow], repeats: int) -> list[dict[str, Any]]:
    """Measure rows of scores, beside torch-fidelity; tells how far it is on stderr."""
    records = []
    for count, row in enumerate(rows, 1):
        print(f"{count}/{len(rows)} {row.key} ...", end=" ", file=sys.stderr, flush=True)
        with contextlib.redirect_stdout(io.StringIO()):  # progress of every pass
            done = scoring_record(row, *measure_row(row, repeats))
        print(f"{done['ratio']:.2f}x torch-fidelity", file=sys.stderr, flush=True)
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
        help="measure only rows whose key starts so: " + ", ".join(KEYS),
    )
    parser.add_argument("--repeats", type=int, default=5, help="timed calls per row (default 5)")
    parser.add_argument(
        "--official",
        type=Path,
        metavar="FOLDER",
        help="measure the official code in turn with ours, in three rounds: a folder with checkouts"
        " named as docs/speed.md says; with --only, those of the chosen rows are enough",
    )
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="time training and sampling at the papers' sizes on this machine's GPU instead",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=suite.MINUTES,
        help="with --gpu: no further row begins after so many (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--write",
        action="store_true",
        help="also write benchmarks/results.{md,json}, which keep what is not measured now; "
        "with --gpu, benchmarks/gpu.json and docs/speed.md",
    )
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    try:
        rows, scoring, sizes, reading = chosen(options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.gpu:
        sys.exit(on_the_gpu(options.minutes, options.json, options.write))
    torch.set_num_threads(1)
    try:
        measured = run(rows, options.repeats, options.official)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    result: dict[str, Any] = {
        "machine": machine(),
        "rows": measured,
        "scoring": run_scoring(scoring, min(options.repeats, SCORING_REPEATS)),
    }
    result["basis"] = basis_costs(sizes, options.repeats)
    result["loader"] = [loader.measure_row(row, options.repeats) for row in reading]
    print(json.dumps(result, indent=2) if options.json else pages(result))
    if options.write:
        path = RESULTS.with_suffix(".json")
        result = with_earlier(result, read_json(path) if path.is_file() else {})
        write_json(path, result)
        write_text(RESULTS.with_suffix(".md"), pages(result))


def on_the_gpu(minutes: float, as_json: bool, write: bool) -> int:
    """Measure the GPU, then print the tables or JSON; the exit status.

    It is 1 where there is no GPU, which is said in one line, or if a row failed.
    """
    try:
        found = accelerator.Accelerator(accelerator.gpu())
        runs = runs_of(suite.SCALE, suite.RUNS)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    result = suite.measure(runs, found, minutes)
    print(json.dumps(result, indent=2) if as_json else gpu_page.block(result))
    if write:
        write_json(gpu_page.RESULTS, result)
        gpu_page.write(result, gpu_page.PAGE)
    for line in (failed := gpu_page.failures(result)):
        print(f"failed: {line}", file=sys.stderr)
    return int(bool(failed))


def pages(result: dict[str, Any]) -> str:
    """The tables of what was measured."""
    parts = []
    if result["rows"] or result["scoring"]:
        parts.append(page(result["machine"], result["rows"], result["scoring"]))
    if result["basis"]["rows"]:
        parts.append(basis_report.page(**result["basis"]))
    if result["loader"]:
        parts.append(loader.page(result["loader"]))
    return "\n".join(parts)


def with_earlier(result: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """The result and, of rows and parts that it did not measure, what an earlier one has.

    Rates of different machines never stand on one page: an earlier result of another processor,
    instruction set, torch or number of threads is dropped, which stderr tells.
    """
    told = ("processor", "instructions", "torch", "threads")
    then, now = earlier.get("machine"), result["machine"]
    if then and any(then[name] != now[name] for name in told):
        was = ", ".join(str(then[name]) for name in told)
        print(f"dropped what was measured before on another machine: {was}", file=sys.stderr)
        return result
    merged = earlier | result
    for part in ("rows", "scoring", "loader"):
        by_key = {row["key"]: row for row in [*earlier.get(part, []), *result[part]]}
        merged[part] = list(by_key.values())
    if not result["basis"]["rows"]:
        merged["basis"] = earlier.get("basis", result["basis"])
    if not result["rows"] and not result["scoring"]:
        merged["machine"] = earlier.get("machine", result["machine"])
    return merged


if __name__ == "__main__":
    main(sys.argv[1:])
