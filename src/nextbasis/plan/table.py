"""The costs of runs as a table, and what was assumed, in words."""

from typing import Any

from tabulate import tabulate

from nextbasis.plan.estimate import Assumptions
from nextbasis.plan.runtimes import MARGIN, MOST

GIB = 2**30
MINUTES_A_DAY = 24 * 60


def render(rows: list[dict[str, Any]], assumed: Assumptions) -> str:
    """The table and the assumptions below it."""
    names = list(assumed.gpus)
    headers = ["run", "params M", "tokens", "sequence", "train GFLOP/img", "steps", "images M"]
    headers += ["GPUs", "GiB/GPU", "recomputed"] + [f"train {name} h" for name in names]
    headers += ["sample GFLOP/img"] + [f"sample {name} h" for name in names] + ["notes"]
    lines = [_line(row, names) for row in rows]
    table = tabulate(lines, headers, tablefmt="simple", disable_numparse=True)
    return f"{table}\n\n{explain(assumed)}"


def _line(row: dict[str, Any], names: list[str]) -> list[str]:
    memory, sampling = row["memory"], row["sampling"]
    hours = {name: sum(entry["hours"][name] for entry in sampling) for name in names}
    per_image = [entry["flops"]["total"] / 1e9 for entry in sampling]
    return [
        row["run"],
        number(row["parameters"]["total"] / 1e6),
        str(row["tokens"]),
        row["sequence"],
        number(row["training_flops"]["total"] / 1e9),
        f"{row['steps']:,}",
        number(row["images"] / 1e6),
        str(row["gpus"]),
        number(memory["total"] / GIB),
        number(memory["total_recomputed"] / GIB),
        *(number(row["training_hours"][name]) for name in names),
        " ".join(sorted({number(value) for value in per_image})),
        *(number(hours[name]) if sampling else "" for name in names),
        "; ".join(row["notes"]),
    ]


def number(value: float) -> str:
    """Three digits that count, none of them behind the third decimal."""
    if 0 < value < 0.001:
        return "<0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def explain(assumed: Assumptions) -> str:
    """The assumptions, a line each."""
    peaks = ", ".join(f"{name} {peak:g} TFLOP/s" for name, peak in assumed.gpus.items())
    shares = {
        kind: ", ".join(f"{family} {share:.1%}" for family, share in by_family.items())
        for kind, by_family in assumed.utilisation.items()
    }
    counts = ", ".join(map(str, assumed.counts))
    lines = [
        f"Peak of dense bfloat16 products, whatever the run's precision: {peaks}.",
        f"Share of it that training reaches: {shares['training']}; MAR's is implied by its README, "
        "the others are guesses.",
        f"Share of it that sampling reaches: {shares['sampling']}; implied by published speeds.",
        "FLOPs are those of matrix products, two for a multiplication and an addition; training is "
        "three forward passes, four with train.recompute, and what A adds but for projections that "
        "need singular values; sampling is the algorithm as published, guidance included; "
        "tokenizers and scores are left out.",
        f"A training has the GPUs that --gpus gives; else the fewest of {counts} with which "
        f"{MARGIN:g} times its hours on the slowest GPU end within {MOST // MINUTES_A_DAY} days, "
        "or the most.",
        "Memory is per GPU, the batch split over all of them, each with all float32 weights, "
        "gradients, Adam's moments and EMA; activations in train.precision, kept or, in the next "
        "column, recomputed by blocks; no allocator's waste.",
        "Hours are GPU-hours: of one training, and of all evaluations of the run. They and all "
        "costs but parameters and FLOPs are estimates.",
    ]
    return "Assumptions (config/plan.yaml):\n" + "\n".join(f"- {line}" for line in lines)
