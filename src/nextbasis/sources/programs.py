"""Run another program and tell in one line why it failed."""

import subprocess
from pathlib import Path


def call(command: list[str], folder: Path, timeout: float, telling: int = -1) -> None:
    """Run `command` in `folder` for at most `timeout` seconds.

    Raises: ValueError with line number `telling` of what it wrote to stderr, or else to stdout.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # in other locales programs speak otherwise
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"'{command[0]} {command[-1]}' took over {timeout} s") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise ValueError(f"{command[0]} failed with status {done.returncode}: {lines[telling]}")
