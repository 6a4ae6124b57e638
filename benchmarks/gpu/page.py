"""The GPU's rows as Markdown, and their place in docs/speed.md."""

import re
from pathlib import Path
from typing import Any

from tabulate import tabulate

from nextbasis.plan.paper import read_page
from nextbasis.support.files import write_atomic
from nextbasis.tables.published import Numbers, load

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "gpu.json", ROOT / "docs" / "speed.md"
PUBLISHED = Path("config/published.csv")
BLOCK = re.compile(
    r"(?<=<!-- python -m benchmarks --gpu -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL
)
NOTHING = "No GPU has been measured yet: where there is one, `python -m benchmarks --gpu --write`."


def block(result: dict[str, Any] | None) -> str:
    """What docs/speed.md shows of a result, or that there is none."""
    if result is None:
        return NOTHING
    return "\n\n".join(
        part for part in (head(result), training(result["rows"]), sampling(result["rows"])) if part
    )


def write(result: dict[str, Any], path: Path) -> None:
    """Put the block into its place in the page.

    Raises: ValueError if the page has no such place.
    """
    text = path.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise ValueError(f"{path} has no place for the GPU's rows, between its two comments")
    made = BLOCK.sub(lambda _: block(result), text)
    write_atomic(path, lambda temporary: temporary.write_text(made, encoding="utf-8"))


def head(result: dict[str, Any]) -> str:
    """The device, and what it can do at best."""
    told = result["environment"]
    memory, peak, rate = told["memory_bytes"], told["peak_tflops"], told["product_tflops"]
    words = [f"**{told['device']}**", f"driver {told['driver']}", f"CUDA {told['cuda']}"]
    words += [f"torch {told['torch']}", f"Python {told['python']}"]
    words += [f"{memory / 1e9:.1f} GB"] if memory else []
    ends = "" if peak is None else f", of {peak:g} in its data sheet"
    return (
        f"{', '.join(words)}. Square products reach {rate['bfloat16']:.0f} TFLOP/s in bfloat16"
        f"{ends}, and {rate['float32']:.0f} in float32"
        f" (`{told['float32_products']}`: without TF32 where it says highest)."
    )


def training(rows: list[dict[str, Any]]) -> str:
    """Steps of training."""
    titles = ["run", "", "batch", "images/s", "TFLOP/s", "of the peak", "GB", "planned GB"]
    lines = [
        _line(
            row,
            lambda row: [
                f"{row['images_per_second']:,.1f}",
                f"{row['tflops']:.1f}",
                _percent(row["utilisation"]),
                _gigabytes(row["peak_bytes"]),
                _gigabytes(row["planned_bytes"]),
            ],
        )
        for row in rows
        if row["what"] == "train"
    ]
    return _table("### Training, bfloat16", titles, lines)


def sampling(rows: list[dict[str, Any]]) -> str:
    """Samplers, with the published rates of other machines beside them."""
    titles = ["run", "", "batch", "images/s", "precision", "GB", "published"]
    lines = [
        _line(
            row,
            lambda row: [
                f"{row['images_per_second']:,.2f}",
                row["precision"],
                _gigabytes(row["peak_bytes"]),
                published(load(PUBLISHED), row["run"]),
            ],
        )
        for row in rows
        if row["what"] == "sample"
    ]
    return _table("### Sampling, official settings", titles, lines)


def published(numbers: Numbers, run: str) -> str:
    """A published rate and what it was measured on; a dash if there is none."""
    table = read_page()["speeds"].get(run.partition("_")[0])
    number = numbers.get((f"{table}/{run}", "images_per_second"))
    return "-" if number is None else f"{number.value:g} {number.unit}"


def failures(result: dict[str, Any]) -> list[str]:
    """What failed, a line each."""
    return [f"{row['key']}: {row['failed']}" for row in result["rows"] if "failed" in row]


def _line(row: dict[str, Any], numbers: Any) -> list[str]:
    if "images_per_second" not in row:
        return [row["run"], row["how"], row.get("failed", "left out")]
    return [row["run"], row["how"], str(row["batch_size"]), *numbers(row)]


def _table(title: str, titles: list[str], lines: list[list[str]]) -> str:
    if not lines:
        return ""
    lines = [line + [""] * (len(titles) - len(line)) for line in lines]
    return f"{title}\n\n" + tabulate(lines, titles, tablefmt="github", disable_numparse=True)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _gigabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.1f}"
