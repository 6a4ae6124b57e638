"""DVC, but that dvc.lock appears whole or not at all: `python -m nextbasis.pipeline.dvc …`.

DVC writes it in place, which takes seconds where a scale has hundreds of stages; a kill or a full
disk meanwhile would leave half of the record of what was made, and no stage could run.
"""

import os
import sys
from pathlib import Path
from typing import Any

from nextbasis.support.disk import named_when_full


def dump(path: str | Path, data: Any, dumper: Any, fs: Any = None, **given: Any) -> None:
    """Write a file as DVC's own function does, but beside it, then rename it into place.

    DVC writes one such file at a time: the next one takes the name of what a kill has left.

    Raises: OSError naming `path` if there is no room for it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with named_when_full(path):
            with temporary.open("w", encoding="utf-8") as stream:
                dumper(data, stream, **given)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> int:
    """DVC's command line; its status."""
    from dvc.cli import main
    from dvc.utils.serialize import _common, _yaml

    _common._dump_data = _yaml._dump_data = dump
    return main()


if __name__ == "__main__":
    sys.exit(main())
