"""Git, asked about a repository; what it says of a failure is passed on as it says it."""

import subprocess
from pathlib import Path


class GitError(ValueError):
    """Git failed: its own message in one line, empty if it had none."""


def git(root: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What a command of git prints.

    Raises: GitError; FileNotFoundError if there is no git.
    """
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, input=given)
    if done.returncode:
        raise GitError(" ".join(done.stderr.decode(errors="replace").split()))
    return done.stdout
