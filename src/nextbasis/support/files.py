"""Files that appear whole or not at all: atomic writes, JSON, checksums, result folders."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK = 1 << 20  # bytes read at a time when hashing


def result_folder(scale: str, kind: str, key: str = "") -> Path:
    """Folder of one stage's outputs: results/<scale>/<kind>[/<key>]."""
    return Path("results") / scale / kind / key


def scratch_folder(scale: str, kind: str, key: str, identity: Sequence[str]) -> Path:
    """Folder of a stage's resumable state, another one for every `identity` of its inputs."""
    digest = hashlib.sha256("/".join(identity).encode()).hexdigest()[:16]
    return Path("scratch") / scale / kind / key / digest


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary sibling of `path`, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (sorted keys, no NaN) atomically.

    Raises: ValueError if a number is not finite.
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomic(path, write)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises: FileNotFoundError naming the file; ValueError if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); delete it and rerun") from error


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling folder whose files move into `folder` when the block succeeds.

    Files are renamed one by one, the last step being `metrics.json` if there is one, so a reader
    never sees a half-written file; nothing moves when the block raises. A folder in it replaces the
    one of its name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == "metrics.json"):
            if path.is_dir():
                shutil.rmtree(folder / path.name, ignore_errors=True)
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
