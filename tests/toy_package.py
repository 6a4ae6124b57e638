"""A copy of the package with one new folder in a room, made of what the room's README lists."""

import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "nextbasis"
IGNORED = shutil.ignore_patterns("__pycache__", "extractors")


def run_with_toy(
    root: Path, room: str, files: Mapping[str, str], parts: Collection[str], program: str
) -> str:
    """What a program prints whose package, below `root`, has the folder `toy` in this room.

    `files` are its modules by name, indented by eight blanks; the README must list them, and
    __init__ and all `parts` of such a folder besides, and nothing else.
    """
    package = root / "nextbasis"
    shutil.copytree(SOURCE, package, ignore=IGNORED)
    readme = (SOURCE / room / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- `(\w+\.py)`:", readme, re.MULTILINE)
    assert set(listed) == {"__init__.py", *(f"{part}.py" for part in parts)}
    folder = package / room / "toy"
    folder.mkdir()
    for name, text in files.items():
        assert name in listed
        lines = text.strip("\n").splitlines()
        (folder / name).write_text("\n".join(line[8:] for line in lines), encoding="utf-8")
    paths = {"PYTHONPATH": f"{root}:{Path(__file__).parent}", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=paths, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
