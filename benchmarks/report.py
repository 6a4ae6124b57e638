"""The tables of rates, and of scores beside torch-fidelity's."""

import statistics
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.measure import MLP_SHAPE, Timing
from benchmarks.scoring import ScoringRow
from benchmarks.work import speed_of_row
from nextbasis.families.common.speed import Row

NOTE = """\
CPU s is the process's time for one training step or one batch of samples (median of {repeats}
repeats), wall s the least elapsed time, img/CPU s images per CPU second.

GFLOP/s is this machine's fp32 rate of torch's own [{rows}, {inner}] x [{inner}, {columns}] product,
measured between the repeats of the row: where it is lower than in the head of this page, other work
was slowing the machine down. Where MKL is slower, this package's linear layers use oneDNN in fp32.
"""

PAIRED_NOTE = """\
official is the official code on the same work, out of the user's checkouts, ratio how many times as
many images we make: both were measured here in turn, one call each in {rounds} rounds, and the
ratio is the median of the rounds' own.
"""

SCORING_NOTE = """\
CPU s is the median for FID, IS, precision and recall of that many images against as many real ones;
torch-fidelity is its public calculate_metrics on the same images, measured here in turn, with equal
results. Not timed is what a score of the pipeline has besides: KID and FID's standard error. With a
stored reference the real images' statistics and features are read, as in every score of the
pipeline; torch-fidelity has no such file and computes both sets, as the rows named "both sets" do
here. Inception's weights are random.
"""


def record(row: Row, timing: Timing, images: int, parameters: int) -> dict[str, Any]:
    """One row's numbers."""
    cpu = statistics.median(timing.cpu)
    return {
        "key": row.key,
        "family": row.name,
        "what": row.what,
        "images": images,
        "cpu_seconds": timing.cpu,
        "wall_seconds": timing.wall,
        "images_per_cpu_second": images / cpu,
        "matmul_gflop_per_cpu_second": statistics.median(timing.gflops),
        "parameters": parameters,
        "official_parameters": speed_of_row(row).PARAMETERS,
    }


def paired(ours: Timing, theirs: Timing, images: int) -> dict[str, Any]:
    """What a row has besides where the official code was measured in turn with ours."""
    ratios = [their / our for our, their in zip(ours.cpu, theirs.cpu, strict=True)]
    return {
        "official_cpu_seconds": theirs.cpu,
        "official_wall_seconds": theirs.wall,
        "official_images_per_cpu_second": images / statistics.median(theirs.cpu),
        "ratios": ratios,
        "ratio": statistics.median(ratios),
    }


def scoring_record(row: ScoringRow, ours: Timing, theirs: Timing) -> dict[str, Any]:
    """One row of scores: both sides measured here, on the same images."""
    ratio = statistics.median(theirs.cpu) / statistics.median(ours.cpu)
    return {
        "key": row.key,
        "what": row.what,
        "images": row.images,
        "cpu_seconds": ours.cpu,
        "wall_seconds": ours.wall,
        "torch_fidelity_cpu_seconds": theirs.cpu,
        "torch_fidelity_wall_seconds": theirs.wall,
        "ratio": ratio,
        "target": row.target,
        "met": None if row.target is None else ratio >= row.target,
    }


def scoring_table(rows: list[dict[str, Any]]) -> str:
    """Rows of scores as a Markdown table."""
    lines = [
        [
            row["key"],
            row["what"],
            f"{row['images']:,}",
            f"{statistics.median(row['cpu_seconds']):.2f}",
            f"{statistics.median(row['torch_fidelity_cpu_seconds']):.2f}",
            f"{row['ratio']:.2f}",
            "-" if row["target"] is None else f"{row['target']:g}",
            verdict(row["met"]),
        ]
        for row in rows
    ]
    head = ["key", "work", "images", "CPU s", "torch-fidelity", "ratio", "target", "met"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def verdict(met: bool | None) -> str:
    """Whether a target is met, in a word."""
    return {True: "yes", False: "no", None: "-"}[met]


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table; with the official code's rates if any row has them."""
    head = ["key", "work", "CPU s", "wall s", "img/CPU s", "GFLOP/s"]
    lines = [
        [
            row["key"],
            f"{row['family']} {row['what']}",
            f"{statistics.median(row['cpu_seconds']):.3f}",
            f"{min(row['wall_seconds']):.3f}",
            f"{row['images_per_cpu_second']:.2f}",
            f"{row['matmul_gflop_per_cpu_second']:.0f}",
        ]
        for row in rows
    ]
    if any("ratio" in row for row in rows):
        head += ["official", "ratio"]
        for line, row in zip(lines, rows, strict=True):
            names = ("official_images_per_cpu_second", "ratio")
            line += [f"{row[name]:.2f}" if name in row else "-" for name in names]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def page(
    machine: dict[str, Any], rows: list[dict[str, Any]], scoring: Sequence[dict[str, Any]] = ()
) -> str:
    """The whole report as Markdown; a part without rows is left out."""
    rates = machine["matmul_gflop_per_cpu_second"]
    shapes = list(next(iter(rates.values())))
    products = [[shape, *(f"{rate[shape]:.0f}" for rate in rates.values())] for shape in shapes]
    counts = {
        row["family"]: f"{row['family']} {row['parameters']:,} (official"
        f" {row['official_parameters']:,})"
        for row in rows
    }
    told = f"\nParameters: {', '.join(counts.values())}." if counts else ""
    head = ["GFLOP/s of a product (rows x inner x columns)", *rates]
    parts = [
        "# Speed on one thread",
        f"{machine['processor']} ({machine['instructions']}), torch {machine['torch']},"
        f" Python {machine['python']}, threads: {machine['threads']}.{told}",
        tabulate(products, head, tablefmt="github", disable_numparse=True),
    ]
    if rows:
        numbers, inner, columns = MLP_SHAPE
        repeats = len(rows[0]["cpu_seconds"])
        note = NOTE.format(repeats=repeats, rows=numbers, inner=inner, columns=columns)
        parts += [table(rows), note.strip()]
        if pairs := [row for row in rows if "ratio" in row]:
            parts += [PAIRED_NOTE.format(rounds=len(pairs[0]["ratios"])).strip()]
    if scoring:
        parts += ["## Scores", scoring_table(list(scoring)), SCORING_NOTE.strip()]
    return "\n\n".join(parts) + "\n"
