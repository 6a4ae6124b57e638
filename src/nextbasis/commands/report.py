"""How commands tell what they did."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def print_report(report: dict[str, str]) -> None:
    """A line for each name, with its text in a column."""
    width = max(map(len, report))
    for name, text in report.items():
        print(f"{name:<{width}}  {text}")


@contextmanager
def collected_warnings() -> Iterator[dict[str, str]]:
    """Lines of a report for the warnings of the block, there when it ends."""
    lines: dict[str, str] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lines
    lines |= {f"warning {i}": str(w.message) for i, w in enumerate(caught, 1)}
