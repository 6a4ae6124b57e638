"""The tables of what A costs: its operations, and their share of a training step."""

from typing import Any

from tabulate import tabulate

from benchmarks.basis_cost import BATCH, GOAL, GOAL_TOKENS, LARGEST_SVD, PAPER_BATCH, SVD_LIMIT

OPERATIONS = ("apply", "objective", "regulariser", "certificate", "projection", "inverse")
NOTE = """\
CPU ms of one thread in 32-bit floats, forward and backward, with GFLOP by formula behind; {batch}
images of 16 channels. apply and most of objective grow in proportion to the images, the others do
not. objective is r0 (prediction and energy), which MAR has at four noise levels of each token;
certificate is what every step pays instead of a projection; inverse is one decoding. A dash: there
is nothing to do, or (projection of {largest} x {largest} and more) it takes minutes and is not run.

The shares are those of apply, objective, regulariser and certificate in a step of the model without
A, dropout included. Those of CPU time also hold projections in {limit:.0%} of the steps where they
were timed. The step is loss and gradients of one image in 32-bit floats, times {batch}, without the
optimiser: what a step does once for its weights is counted for each image, which flatters A at 64
tokens. (derived): at the FLOP rate of the model's largest measured step. From 4096 tokens on, and
steps from 256, calls are timed once. At {paper} images, those of a GPU in the published setting,
what A does once a step is divided further. A stays in float32 where a GPU computes the rest in
bfloat16, at up to a sixteenth of the FLOP rate: multiply its share of FLOPs by that at most.
"""


def cell(row: dict[str, Any], name: str) -> str:
    """Milliseconds and, in brackets, GFLOP of one operation."""
    spent, work = row["cpu_seconds"][name], row["flops"][name]
    if spent is None:
        return "-"
    return f"{1e3 * spent:,.1f} ({(work or 0.0) / 1e9:,.2f})"


def operations(rows: list[dict[str, Any]]) -> str:
    """What A does, by tokens, family and structure."""
    head = ["tokens", "model", "A", *OPERATIONS]
    lines = [
        [str(row["tokens"]), row["family"], row["structure"]]
        + [cell(row, name) for name in OPERATIONS]
        for row in rows
    ]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def shares(steps: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """How much A adds to a training step."""
    by_step = {(step["tokens"], step["family"]): step for step in steps}
    lines = []
    for row in rows:
        step = by_step[row["tokens"], row["family"]]
        lines.append(
            [
                str(row["tokens"]),
                f"{row['family']}_b",
                row["structure"],
                f"{step['flops'] / 1e9:,.0f}",
                f"{step['cpu_seconds']:.2f}" + ("" if step["measured"] else " (derived)"),
                f"{row['share_of_flops']:.3%}",
                f"{row['share_of_flops_at_paper_batch']:.3%}",
                f"{row['share_of_cpu']:.3%}",
            ]
        )
    head = ["tokens", "model", "A", "step GFLOP/image", "step CPU s/image"]
    head += [f"FLOPs, {BATCH} images", f"FLOPs, {PAPER_BATCH} images", f"CPU, {BATCH} images"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def verdict(rows: list[dict[str, Any]]) -> str:
    """Whether the dense A stays below its goal, in words; nothing if it was not measured."""
    found = [
        max(row["share_of_flops"], row["share_of_cpu"])
        for row in rows
        if row["tokens"] == GOAL_TOKENS and row["structure"] == "dense"
    ]
    if not found:
        return ""
    met = "met" if max(found) <= GOAL else "missed"
    return (
        f"Goal: the dense A takes at most {GOAL:.0%} of a step at {GOAL_TOKENS} tokens: {met}, "
        f"{max(found):.2%} at most.\n\n"
    )


def page(steps: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """Both tables and what they mean, as Markdown."""
    note = NOTE.format(batch=BATCH, paper=PAPER_BATCH, limit=SVD_LIMIT, largest=LARGEST_SVD + 1)
    return (
        "# Cost of A in training\n\n"
        f"{shares(steps, rows)}\n\n{verdict(rows)}{operations(rows)}\n\n{note}"
    )
