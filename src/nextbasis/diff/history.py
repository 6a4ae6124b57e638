"""Files of a commit, read from Git's objects without a checkout, or those of the working tree."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

LOCK = "dvc.lock"


class Version(Protocol):
    """One version of the repository."""

    @property
    def name(self) -> str:
        """How reports call it."""

    def read(self, paths: Iterable[str]) -> dict[str, str]:
        """The texts of those files that this version has."""


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
        output = _git(self.root, "cat-file", "--batch", given=request)
        found, start = {}, 0
        for path in wanted:
            end = output.index(b"\n", start)
            head, start = output[start:end], end + 1
            if not head.endswith(b" missing"):
                size = int(head.rpartition(b" ")[2])
                found[path] = output[start : start + size].decode()
                start += size + 1
        return found


@dataclass(frozen=True)
class WorkingTree:
    """The files as they are."""

    root: Path
    name: str = "the working tree"

    def read(self, paths: Iterable[str]) -> dict[str, str]:
        """The texts of those files that are there."""
        there = [path for path in paths if (self.root / path).is_file()]
        return {path: (self.root / path).read_text() for path in there}


def open_version(root: Path, revision: str) -> Version:
    """A revision as Git names it; the working tree if empty.

    Raises: ValueError if Git does not know it.
    """
    if not revision:
        return WorkingTree(root)
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except subprocess.CalledProcessError as error:
        raise ValueError(
            f"git knows no revision '{revision}'; `git log --oneline -- {LOCK}` lists those with "
            "results, and `git fetch --unshallow` gets what a shallow clone lacks"
        ) from error
    full = commit.decode().strip()
    name = revision if full.startswith(revision) else f"{revision} ({full[:12]})"
    return Commit(root, name, full)


def locked_stages(version: Version) -> dict[str, dict[str, Any]]:
    """What DVC recorded about every stage that was run.

    Raises: ValueError if the version has no recorded results.
    """
    text = version.read([LOCK]).get(LOCK, "")
    stages = (yaml.load(text, Loader=yaml.CSafeLoader) or {}).get("stages") if text else None
    if not stages:
        raise ValueError(
            f"{version.name} has no recorded results: it has no stages in {LOCK}; "
            f"`git log --oneline -- {LOCK}` lists revisions that have"
        )
    return stages


def _git(root: Path, *arguments: str, given: bytes = b"") -> bytes:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, input=given).stdout
