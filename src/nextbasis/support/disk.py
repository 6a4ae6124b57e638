"""A disk that fills: one error that says where, whichever library noticed; and room made first."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAID = (" requested and ", *(f"(os error {number})" for number in FULL))  # by NumPy, safetensors


@contextmanager
def named_when_full(path: Path) -> Iterator[None]:
    """What the block raises; where no room was left for `path`, an error that says so.

    Raises: OSError naming what was being written.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            f"no room is left to write {path}: its disk has {free / 1e6:.1f} MB free, unless a "
            "quota or a limit on the size of files was reached; nothing of it was kept. Make room "
            "and run it again"
        ) from error


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, says that a disk, a quota or a limit is full."""
    if error is None:
        return False
    told = isinstance(error, OSError) and error.errno in FULL
    told = told or any(text in str(error) for text in SAID)
    return told or is_full(error.__cause__) or is_full(error.__context__)


def reserve(path: Path) -> None:
    """Give a file the room that its size says it takes; a file of holes has none.

    To write into a memory map without room would kill the process.

    Raises: OSError if there is not that much.
    """
    size = path.stat().st_size
    if not size or not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, size)
        except OSError as error:
            if is_full(error):  # other errors are of file systems that reserve nothing
                raise
