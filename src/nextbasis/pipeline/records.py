"""DVC's own records after a kill: half of one is put back as it was, or removed.

DVC writes dvc.lock in place, which takes seconds where a scale has hundreds of stages, and the list
of its locks, .dvc/tmp/rwlock, several times a stage. A kill or a full disk meanwhile leaves half.
"""

import json
import shutil
import sys
from pathlib import Path

from nextbasis.support.files import write_atomic

HELD = Path(".dvc/tmp/rwlock")  # who reads and writes what, while DVC runs a stage
KEPT = Path(".dvc/tmp/whole")  # dvc.lock of each scale, as it was when DVC last read it


class Records:
    """The dvc.lock of one scale, and the list of locks that all scales share."""

    def __init__(self, root: Path, lock: Path, scale: str) -> None:
        """`lock` is the scale's dvc.lock, which need not be there."""
        self.root, self.lock, self.kept = root, lock, root / KEPT / f"{scale}.lock"

    def keep(self) -> None:
        """Remember dvc.lock, which DVC has just read."""
        if self.lock.is_file():
            write_atomic(self.kept, lambda path: copy(self.lock, path))

    def mend(self, said: str) -> bool:
        """Put back or remove what DVC cannot read, as it `said`; whether there was anything.

        What was made since dvc.lock was kept DVC takes from its cache of runs.
        """
        if is_half(self.root / HELD):
            (self.root / HELD).unlink()
            print(f"{HELD}: half of it was left by a kill; it is removed", file=sys.stderr)
            return True
        if str(self.lock.relative_to(self.root)) not in said or not self.kept.is_file():
            return False
        if self.lock.is_file() and self.lock.read_bytes() == self.kept.read_bytes():
            return False
        write_atomic(self.lock, lambda path: copy(self.kept, path))
        print(
            f"{self.lock.relative_to(self.root)}: DVC cannot read it, a kill or a full disk may "
            "have left half; it is put back as it was when Snakemake last began, and what was made "
            "since comes from DVC's cache",
            file=sys.stderr,
        )
        return True


def copy(source: Path, target: Path) -> None:
    """A file's bytes in another one."""
    shutil.copyfile(source, target)


def is_half(path: Path) -> bool:
    """Whether a file is there and is no JSON."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False
