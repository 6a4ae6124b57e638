"""DVC's own records after a kill: half of one is put back as it was, or removed.

DVC writes dvc.lock in place, which takes seconds where it has hundreds of stages, and the list of
its locks, .dvc/tmp/rwlock, several times a stage. A kill or a full disk meanwhile leaves half. Half
of a dvc.lock may be one that DVC can read; what it then lacks DVC takes from its cache of runs.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from nextbasis.support.files import write_text

HELD = Path(".dvc/tmp/rwlock")  # who reads and writes what, while DVC runs a stage
KEPT = Path(".dvc/tmp/whole")  # each dvc.lock as it was when DVC last read it


class Records:
    """Every dvc.lock of one scale, and the list of locks that all scales share."""

    def __init__(self, root: Path, locks: Iterable[str]) -> None:
        """`locks` are the scale's and its parts', below `root`; they need not be there."""
        self.root, self.locks = root, list(locks)

    def keep(self) -> None:
        """Remember each dvc.lock, which DVC has just read."""
        for lock in self.locks:
            if (source := self.root / lock).is_file():
                write_text(self.root / KEPT / lock, source.read_text(encoding="utf-8"))

    def mend(self, said: str) -> bool:
        """Put back or remove what DVC cannot read, as it `said`; whether there was anything.

        What was made since dvc.lock was kept DVC takes from its cache of runs.
        """
        if is_half(self.root / HELD):
            (self.root / HELD).unlink()
            print(f"{HELD}: half of it was left by a kill; it is removed", file=sys.stderr)
            return True
        return any([self._put_back(lock) for lock in self.locks if lock in said])

    def _put_back(self, lock: str) -> bool:
        target, kept = self.root / lock, self.root / KEPT / lock
        if not kept.is_file():
            return False
        if target.is_file() and target.read_bytes() == kept.read_bytes():
            return False
        write_text(target, kept.read_text(encoding="utf-8"))
        print(
            f"{lock}: DVC cannot read it, a kill or a full disk may have left half; it is put back "
            "as it was when Snakemake last began, and what was made since comes from DVC's cache",
            file=sys.stderr,
        )
        return True


def is_half(path: Path) -> bool:
    """Whether a file is there and is no JSON."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False
