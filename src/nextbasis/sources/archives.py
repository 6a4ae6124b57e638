"""Which files the location of an archive source names: two patterns, of train and test files."""

import os
import re
from glob import glob
from pathlib import Path

from nextbasis.sources.splits import check_apart
from nextbasis.support.files import natural_order

FOLDER_VARIABLE = "NEXTBASIS_DATA"  # environment variable: a folder to look in first
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # {000..146}; the first number's digits set the width


def archives(location: str) -> dict[str, list[Path]]:
    """Files of the splits train and test, in natural order; FOLDER_VARIABLE names another folder.

    Patterns are separated by a blank. `*` stands for anything, a range in braces for every number
    of it, and then no file may be missing. Of a pattern's folders, the last ones that are in the
    other folder, too, are kept there.

    Raises: ValueError if there are not two patterns, naming a file that is in both splits or none
    that can be read; FileNotFoundError naming what is missing.
    """
    patterns = location.split()
    if len(patterns) != 2:
        raise ValueError(
            "dataset.sources.location must be two patterns separated by a blank, of train and of "
            f"test files; got '{location}'"
        )
    train, test = map(_matching, patterns)
    check_apart(train, test)
    return {"train": train, "test": test}


def _matching(pattern: str) -> list[Path]:
    folder = os.environ.get(FOLDER_VARIABLE, "")
    found: list[Path] = []
    for name in _expanded(_below(folder, pattern) if folder else pattern):
        names = _glob(name, folder)
        if not names:
            raise FileNotFoundError(f"no file {Path(folder) / name}")
        found += sorted((Path(folder) / each for each in names), key=natural_order)
    for path in found:
        if not path.is_file():  # opening a pipe would wait for ever
            raise ValueError(
                f"{path} is a folder, a pipe or a link that leads nowhere, where {pattern} must "
                "name files"
            )
    return found


def _below(folder: str, pattern: str) -> str:
    """The pattern with as many of its last folders as there are below `folder`."""
    *parents, name = Path(pattern).parts
    for start in range(len(parents)):
        kept = parents[start:]
        if kept[0] != os.sep and ".." not in kept:
            inner = os.path.join(*kept)
            if any(_glob(f"{each}/", folder) for each in _expanded(inner)):
                return os.path.join(inner, name)
    return name


def _glob(pattern: str, folder: str) -> list[str]:
    # Brackets may stand in the name of a file or folder, too, where they choose no letter.
    return glob(pattern, root_dir=folder) or glob(pattern.replace("[", "[[]"), root_dir=folder)


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
