"""Files of a commit, read from Git's objects without a checkout, or those of the working tree."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nextbasis.pipeline.catalog import SCALES
from nextbasis.support.git import GitError, git
from nextbasis.support.yamls import parse_yaml

LOCK = "dvc.lock"
ONE_A_SCALE = ("dataset", "reference")  # stages that DVC names after the scale's data set
SCALE = re.compile(r"\bscale=(\w+)")  # in a stage's command


class Version(Protocol):
    """One version of the repository."""

    @property
    def name(self) -> str:
        """How reports call it."""

    def read(self, paths: Iterable[str]) -> dict[str, str]:
        """The texts of those files that this version has."""

    def of_scales(self, name: str) -> list[str]:
        """Paths of the files of this name in the folders of scales; none where it has none."""


@dataclass(frozen=True)
class Commit:
    """A commit."""

    root: Path
    name: str  # as given, and the commit's short hash
    commit: str

    def read(self, paths: Iterable[str]) -> dict[str, str]:
        """The texts of those files that this commit has."""
        wanted = list(paths)
        request = "".join(f"{self.commit}:{path}\n" for path in wanted).encode()
        output = git(self.root, "cat-file", "--batch", given=request)
        found, start = {}, 0
        for path in wanted:
            end = output.index(b"\n", start)
            head, start = output[start:end], end + 1
            if not head.endswith(b" missing"):
                size = int(head.rpartition(b" ")[2])
                found[path] = output[start : start + size].decode()
                start += size + 1
        return found

    def of_scales(self, name: str) -> list[str]:
        """Paths of the files of this name in this commit's folders of scales."""
        listed = git(self.root, "ls-tree", "-r", "-z", "--name-only", self.commit, f"{SCALES}/")
        return [path for path in listed.decode().split("\0") if path.endswith(f"/{name}")]


@dataclass(frozen=True)
class WorkingTree:
    """The files as they are."""

    root: Path
    name: str = "the working tree"

    def read(self, paths: Iterable[str]) -> dict[str, str]:
        """The texts of those files that are there."""
        there = [path for path in paths if (self.root / path).is_file()]
        return {path: (self.root / path).read_text(encoding="utf-8") for path in there}

    def of_scales(self, name: str) -> list[str]:
        """Paths of the files of this name in the folders of scales."""
        found = (self.root / SCALES).rglob(name)
        return sorted(path.relative_to(self.root).as_posix() for path in found)


def open_version(root: Path, revision: str) -> Version:
    """A revision as Git names it; the working tree if empty.

    Raises: ValueError if Git does not know it.
    """
    if not revision:
        return WorkingTree(root)
    try:
        commit = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except GitError as error:
        if str(error):  # of an unknown revision it says nothing
            raise ValueError(f"git cannot tell what {revision} is: {error}") from error
        raise ValueError(
            f"git knows no revision '{revision}'; `git log --oneline -- {LOCK}` lists those with "
            "results, and `git fetch --unshallow` gets what a shallow clone lacks"
        ) from error
    full = commit.decode().strip()
    name = revision if full.startswith(revision) else f"{revision} ({full[:12]})"
    return Commit(root, name, full)


def locked_stages(version: Version) -> dict[str, dict[str, Any]]:
    """What DVC recorded about every stage that was run, by <kind>-<scale>[@<key>].

    Raises: ValueError if the version has no recorded results.
    """
    locks = [LOCK, *version.of_scales(LOCK)]
    stages = {
        _full_name(name, stage): stage
        for text in version.read(locks).values()
        for name, stage in (parse_yaml(text) or {}).get("stages", {}).items()
    }
    if not stages:
        raise ValueError(
            f"{version.name} has no recorded results: it has no stages in {LOCK}; "
            f"`git log --oneline -- {LOCK}` lists revisions that have"
        )
    return stages


def _full_name(name: str, stage: dict[str, Any]) -> str:
    kind, at, key = name.partition("@")
    if kind in ONE_A_SCALE:
        at, key = "", ""
    scale = SCALE.search(stage["cmd"])
    return name if "-" in kind or scale is None else f"{kind}-{scale[1]}{at}{key}"
