"""Which files the location of an archive source names: two patterns, of train and test files."""

import os
import re
from glob import glob
from pathlib import Path

from nextbasis.support.files import natural_order

FOLDER_VARIABLE = "NEXTBASIS_DATA"  # environment variable: a folder to look in first
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # {000..146}; the first number's digits set the width


def archives(location: str) -> dict[str, list[Path]]:
    """Files of the splits train and test, in natural order; FOLDER_VARIABLE names another folder.

    Patterns are separated by a blank. `*` stands for anything, a range in braces for every number
    of it, and then no file may be missing.

    Raises: ValueError if there are not two patterns; FileNotFoundError naming what is missing.
    """
    patterns = location.split()
    if len(patterns) != 2:
        raise ValueError(
            "dataset.sources.location must be two patterns separated by a blank, of train and of "
            f"test files; got '{location}'"
        )
    return dict(zip(("train", "test"), map(_matching, patterns), strict=True))


def _matching(pattern: str) -> list[Path]:
    folder = os.environ.get(FOLDER_VARIABLE, "")
    found: list[Path] = []
    for name in _expanded(Path(pattern).name if folder else pattern):
        # Brackets may stand in the name of a file or folder, too, where they choose no letter.
        names = glob(name, root_dir=folder) or glob(name.replace("[", "[[]"), root_dir=folder)
        if not names:
            raise FileNotFoundError(f"no file {Path(folder) / name}")
        found += sorted((Path(folder) / each for each in names), key=natural_order)
    return found


def _expanded(pattern: str) -> list[str]:
    match = RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last = match.groups()
    if int(first) > int(last):
        raise ValueError(f"the range {match[0]} of {pattern} is empty")
    before, after = pattern[: match.start()], _expanded(pattern[match.end() :])
    numbers = range(int(first), int(last) + 1)
    return [f"{before}{n:0{len(first)}}{rest}" for n in numbers for rest in after]
