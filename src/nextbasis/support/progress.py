"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from nextbasis.support import processes

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts `total` units of work; `unit` names them.

    On a terminal it is a tqdm bar with rate and time left; elsewhere a line every ten seconds. Of
    several processes the first one shows it.
    """

    def __init__(self, total: int, unit: str, what: str, initial: int = 0) -> None:
        """Start at `initial` of `total` units (more than zero after a resume)."""
        self.total, self.unit, self.what, self.done = total, unit, what, initial
        self.started, self.initial, self.last_line = time.monotonic(), initial, time.monotonic()
        self.shown = processes.rank() == 0
        self.bar = (
            tqdm(total=total, initial=initial, unit=unit, desc=what, dynamic_ncols=True)
            if self.shown and sys.stderr.isatty()
            else None
        )

    def update(self, count: int = 1, **notes: float) -> None:
        """Count `count` more units; `notes` are shown beside the rate."""
        self.done += count
        if self.bar is not None:
            if notes:
                self.bar.set_postfix({name: f"{value:.4g}" for name, value in notes.items()})
            self.bar.update(count)
            return
        waited = time.monotonic() - self.last_line
        if self.shown and (waited > SECONDS_BETWEEN_LINES or self.done >= self.total):
            self.last_line = time.monotonic()
            seconds = self.last_line - self.started
            rate = (self.done - self.initial) / max(seconds, 1e-9)
            left = (self.total - self.done) / max(rate, 1e-9)
            text = "".join(f", {name} {value:.4g}" for name, value in notes.items())
            print(
                f"{self.what}: {self.done}/{self.total} {self.unit} in {seconds:.0f} s, "
                f"{rate:.3g} {self.unit}/s, {left:.0f} s left{text}",
                flush=True,
            )

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()


def track(items: Iterable[T], total: int, unit: str, what: str) -> Iterator[T]:
    """Iterate with progress, one unit an item."""
    progress = Progress(total, unit, what)
    for item in items:
        yield item
        progress.update()
    progress.close()
