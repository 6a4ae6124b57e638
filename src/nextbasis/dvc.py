"""DVC, quick to note a stage in dvc.lock: `python -m nextbasis.dvc repro train-cpu@xar_b`.

For every stage that it has run, DVC parses and writes all of dvc.lock in pure Python, which takes
seconds here, and every other job waits for it. This replaces the lines of that stage only; the
file is the same to the byte (tests/test_dvc.py), so `dvc` itself may be used as well.

SIGTERM, which a cluster sends to all processes of a job before it kills them, is the stage's to
answer: were this process to die of it, the rest of the job would be killed while a training still
saves its state.
"""

import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from dvc.cli import main
from dvc.dvcfile import Lockfile
from dvc.log import logger
from dvc.stage import serialize
from dvc.utils.serialize import dumps_yaml

from nextbasis.files import write_atomic

HEAD = "schema: '2.0'\nstages:\n"
log = logger.getChild(__name__)
dump_all = Lockfile.dump_stages  # DVC's own


def with_entry(text: str, entry: str) -> str | None:
    """The text of a dvc.lock with one stage's lines replaced, or added at the end.

    None if it is not laid out as DVC does it, with nothing but stages.
    """
    if not text.startswith(HEAD) or re.search(r"^\S", text[len(HEAD) :], re.MULTILINE):
        return None
    name = entry.partition("\n")[0]
    old = re.search(rf"^{re.escape(name)}\n(?:(?!  \S).*\n)*", text, re.MULTILINE)
    if old is None:
        return text + entry
    return text[: old.start()] + entry + text[old.end() :]


def dump_stages(lockfile: Any, stages: list[Any], **options: Any) -> None:
    """Note in dvc.lock what these stages read and made, as `Lockfile.dump_stages` does."""
    path = Path(lockfile.path)
    before = after = path.read_text(encoding="utf-8") if path.exists() else ""
    for stage in stages:
        entry = dumps_yaml({"stages": serialize.to_lockfile(stage, **options)})
        changed = with_entry(after, entry.removeprefix("stages:\n"))
        if changed is None:
            dump_all(lockfile, stages, **options)
            return
        after = changed
    if after != before:
        log.info("Updating lock file '%s'", lockfile.relpath)
        write_atomic(path, partial(_write, after))
        lockfile.repo.scm_context.track_file(lockfile.relpath)


def _wait_for_stage(number: int, frame: object) -> None:
    """Go on while a stage runs, which decides how this process ends; else end."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # there is none
        sys.exit(128 + number)


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    Lockfile.dump_stages = dump_stages
    signal.signal(signal.SIGTERM, _wait_for_stage)  # unlike SIG_IGN, no child inherits it
    sys.exit(main())
