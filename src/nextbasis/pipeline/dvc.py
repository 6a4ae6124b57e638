"""DVC, whose records appear whole or not at all: `python -m nextbasis.pipeline.dvc …`.

DVC writes dvc.lock in place, which takes seconds where a scale has hundreds of stages, and the list
of its locks, .dvc/tmp/rwlock, twice for every stage that it looks at. A kill or a full disk in it
would leave half of a record, and no stage could run.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from nextbasis.support.disk import named_when_full


@contextmanager
def replaced(path: str | Path) -> Iterator[TextIO]:
    """A text that is written beside `path` and renamed into place when the block succeeds.

    DVC writes one such file at a time: the next one takes the name of what a kill has left.

    Raises: OSError naming `path` if there is no room for it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with named_when_full(path):
            with temporary.open("w", encoding="utf-8") as stream:
                yield stream
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def dump(path: str | Path, data: Any, dumper: Any, fs: Any = None, **given: Any) -> None:
    """In the place of DVC's function that writes YAML files."""
    with replaced(path) as stream:
        dumper(data, stream, **given)


class Whole:
    """A file system of DVC whose texts are replaced when they are written."""

    def __init__(self, fs: Any) -> None:
        """In all else as `fs`."""
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        """All else is the file system's."""
        return getattr(self._fs, name)

    def open(self, path: str, mode: str = "r", encoding: str = "utf-8") -> Any:
        """A text to read or to write."""
        return replaced(path) if mode == "w" else self._fs.open(path, mode, encoding=encoding)


def main() -> int:
    """DVC's command line; its status."""
    from dvc import rwlock
    from dvc.cli import main
    from dvc.utils.serialize import _common, _yaml

    edit = rwlock._edit_rwlock
    rwlock._edit_rwlock = lambda folder, fs, hardlink: edit(folder, Whole(fs), hardlink)
    _common._dump_data = _yaml._dump_data = dump
    return main()


if __name__ == "__main__":
    sys.exit(main())
