"""DVC, quick to read and write dvc.lock: `python -m nextbasis.dvc repro train-cpu@xar_b`.

For every stage that it has run, DVC parses and writes all of dvc.lock in pure Python, which takes
seconds here, and every other job waits for it. This replaces the lines of that stage only, and
parses those of the stages that are asked for. `dvc status A B` reads dvc.yaml, the catalog and
dvc.lock again for A and for B; here it reads them once. File and verdict are DVC's own to the byte
(tests/test_dvc.py), so `dvc` itself may be used as well. What does not look as DVC writes it is
left to DVC.

SIGTERM, which a cluster sends to all processes of a job before it kills them, is the stage's to
answer: were this process or the shell in between to die of it, the rest of the job would be killed
while a training still saves its state.
"""

import re
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from dvc import dvcfile
from dvc.cli import main
from dvc.dvcfile import Lockfile
from dvc.log import logger
from dvc.stage import run, serialize
from dvc.utils.serialize import dumps_yaml, parse_yaml

from nextbasis.files import write_atomic

HEAD = "schema: '2.0'\nstages:\n"
NAME = re.compile(r"  [A-Za-z][\w.@-]*:\n")  # read as a string, unlike 1 or a quoted "true"
log = logger.getChild(__name__)
dump_all, load_all = Lockfile.dump_stages, Lockfile._load_yaml  # DVC's own
run_alone, alone_in_shell = run._run, run._make_cmd


def entries(text: str) -> dict[str, str] | None:
    """The lines of every stage of a dvc.lock by the first of them.

    None if it is not laid out as DVC does it, with nothing but stages, or if one stage may refer to
    a part of another.
    """
    body = text.removeprefix(HEAD)
    if body == text or re.search(r"^\S|[\s,[{][&*]\w", body, re.MULTILINE):
        return None
    parts = re.split(r"^(?=  \S)", body, flags=re.MULTILINE)[1:]
    found = {part[: part.find("\n") + 1]: part for part in parts}
    whole = len(found) == len(parts) and HEAD + "".join(parts) == text
    return found if whole and all(map(NAME.fullmatch, found)) else None


class LockedStages(Mapping[str, Any]):
    """What dvc.lock says of its stages; each is parsed and checked when it is asked for."""

    def __init__(self, path: str, texts: dict[str, str]) -> None:
        """Take the lines of every stage, as `entries` gives them."""
        self.path, self.texts = path, texts

    def __getitem__(self, name: str) -> Any:
        """One stage's entry, a new object every time."""
        text = HEAD + self.texts[f"  {name}:\n"]
        return Lockfile.validate(parse_yaml(text, self.path), self.path)["stages"][name]

    def __contains__(self, name: object) -> bool:
        """Whether there is an entry, without parsing it."""
        return f"  {name}:\n" in self.texts

    def __iter__(self) -> Iterator[str]:
        """Names of the stages."""
        return (line[2:-2] for line in self.texts)

    def __len__(self) -> int:
        """Number of stages."""
        return len(self.texts)


def load_stages(lockfile: Any, **options: Any) -> tuple[Any, str]:
    """Content and text of dvc.lock, as `Lockfile._load_yaml` returns them."""
    try:
        with lockfile.repo.fs.open(lockfile.path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError:
        return load_all(lockfile, **options)
    texts = entries(text)
    if options or texts is None:
        return load_all(lockfile, **options)
    return {"schema": "2.0", "stages": LockedStages(lockfile.path, texts)}, text


def dump_stages(lockfile: Any, stages: list[Any], **options: Any) -> None:
    """Note in dvc.lock what these stages read and made, as `Lockfile.dump_stages` does."""
    path = Path(lockfile.path)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    made = [dumps_yaml({"stages": serialize.to_lockfile(stage, **options)}) for stage in stages]
    texts = entries(before)
    new = entries(HEAD + "".join(text.removeprefix("stages:\n") for text in made))
    if texts is None or new is None:
        dump_all(lockfile, stages, **options)
        return
    after = HEAD + "".join((texts | new).values())
    if after != before:
        log.info("Updating lock file '%s'", lockfile.relpath)
        write_atomic(path, partial(_write, after))
        lockfile.repo.scm_context.track_file(lockfile.relpath)


def run_stage(*arguments: Any, **options: Any) -> None:
    """Run a stage's command as DVC does; SIGTERM does not end this process meanwhile."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # unlike SIG_IGN, no child inherits it
    try:
        run_alone(*arguments, **options)
    finally:
        signal.signal(signal.SIGTERM, before)


def in_shell(executable: str, command: str) -> list[str]:
    """A stage's command as DVC's shell is told it; SIGTERM does not end that shell either."""
    return alone_in_shell(executable, f"trap : TERM; {command}")


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    Lockfile.dump_stages, Lockfile._load_yaml = dump_stages, load_stages
    run._run, run._make_cmd = run_stage, in_shell
    if "status" in sys.argv:  # which changes no file, so that what has been read stays true
        dvcfile.load_file = cache(dvcfile.load_file)
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
