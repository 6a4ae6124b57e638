"""Times that the CPU waits for the pretend GPU, with their places.

Those are what `torch.cuda.set_sync_debug_mode` would tell of: numbers that are read, shapes that
depend on numbers, copies from one device to the other without `non_blocking`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PRETENCE = [Path(__file__).with_name(f"{name}.py") for name in ("cuda_tensor", "pretend_gpu")]


class Sync(NamedTuple):
    """One time that the CPU waits for the GPU."""

    operation: str  # "item", "nonzero", "copy to cpu", ...
    place: str  # "src/nextbasis/....py:12", the innermost line of src, else of the test


_lists: list[list[Sync]] = []  # of the blocks that count, innermost last


@contextmanager
def counting_syncs() -> Iterator[list[Sync]]:
    """A block inside `pretend_gpu` whose waits are listed."""
    found: list[Sync] = []
    _lists.append(found)
    try:
        yield found
    finally:
        _lists.pop()


def note(operation: str) -> None:
    """Tell the blocks that count of a wait."""
    if _lists:
        place = _place()
        for found in _lists:
            found.append(Sync(operation, place))


def _place() -> str:
    """The innermost line of src in the stack, else the innermost of the project."""
    frame, nearest = sys._getframe(2), ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path not in PRETENCE:
            line = f"{path.relative_to(ROOT)}:{frame.f_lineno}"
            if line.startswith("src"):
                return line
            if line.startswith("tests"):
                nearest = nearest or line
        frame = frame.f_back  # type: ignore[assignment]
    return nearest
