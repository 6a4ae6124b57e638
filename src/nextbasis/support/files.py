"""Files that appear whole or not at all: atomic writes, JSON, checksums, result folders."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path, PurePath
from typing import Any

from nextbasis.support.disk import named_when_full
from nextbasis.support.words import listed

CHUNK = 1 << 20  # bytes read at a time when hashing
TEXT = "utf-8-sig"  # of what others wrote: a byte-order mark may stand first
NUMBER = re.compile(r"[0-9]+")
OURS = ("results", "scratch")  # the pipeline's folders, which it fills again


def result_folder(scale: str, kind: str, key: str = "") -> Path:
    """Folder of one stage's outputs: results/<scale>/<kind>[/<key>]."""
    return Path("results") / scale / kind / key


def scratch_folder(scale: str, kind: str, key: str, identity: Sequence[str]) -> Path:
    """Folder of a stage's resumable state, another one for every `identity` of its inputs."""
    digest = hashlib.sha256("/".join(identity).encode()).hexdigest()[:16]
    return Path("scratch") / scale / kind / key / digest


def check_new(path: Path) -> None:
    """Nothing if a file or a folder can be made there, and the folders above it.

    Raises: FileExistsError if something is there, such as a link that leads nowhere;
    NotADirectoryError if a file is where a folder above it would be.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already; delete it or choose another name")
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be made: {above} is no folder")


def natural_order(path: PurePath | str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A key that sorts names as people do, 2.png before 10.png; each folder of a path by its own.

    Where the numbers in the names have equally many digits, this is the order of plain strings.
    """
    parts = PurePath(path).parts
    return tuple(NUMBER.sub(_as_number, part) for part in parts), parts


def _as_number(digits: re.Match[str]) -> str:
    """A digit, as before for what stands beside numbers; then how long the number is, and it."""
    number = digits[0].lstrip("0")
    return f"0{chr(len(number))}{number}"


def as_text(path: Path) -> str:
    """A path as files can hold it: bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary sibling of `path`, then rename it into place.

    Raises: OSError naming `path` if there is no room for it; nothing is left then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        with named_when_full(path):
            write(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomic(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (sorted keys, no NaN) atomically.

    Raises: ValueError if a number is not finite.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises: FileNotFoundError naming the file; ValueError if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding=TEXT))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}){_again(path)}") from error


def read_record(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """The keys and values of a JSON file, which must have `keys`.

    Raises: FileNotFoundError naming the file; ValueError if it is not JSON or lacks a key.
    """
    record = read_json(path)
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds no keys and values{_again(path)}")
    if lacking := [key for key in keys if key not in record]:
        raise ValueError(f"{path} has no {listed(lacking)}{_again(path)}")
    return record


def _again(path: Path) -> str:
    """What to do about a file that a stage has made; nothing of anybody's own."""
    return "; delete it and rerun" if path.parts[0] in OURS else ""


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The number, from 1, and the value of every line of JSON; blank lines are passed over.

    A line ends at a line feed alone: JSON may hold every other character that ends lines in texts.

    Raises: FileNotFoundError; ValueError naming the file and the line that is not JSON in UTF-8.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                if text := line.decode(TEXT if number == 1 else "utf-8").strip():
                    value = json.loads(text)
                    if r"\ud" in text.lower():  # half of a pair of surrogates is no text
                        json.dumps(value, ensure_ascii=False).encode()
                    yield number, value
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}: line {number} is not JSON in UTF-8 ({error})") from error


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling folder whose files move into `folder` when the block succeeds.

    Files are renamed one by one, the last step being `metrics.json` if there is one, so a reader
    never sees a half-written file; nothing moves when the block raises. A folder in it replaces the
    one of its name. What killed processes have left of theirs is removed.

    Raises: OSError naming `folder` if there is no room for it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    for left in folder.parent.glob(f".{escape(folder.name)}.*.tmp"):
        if left == temporary or not _is_alive(left.name.split(".")[-2]):
            shutil.rmtree(left, ignore_errors=True)
    try:
        with named_when_full(folder):
            temporary.mkdir()
            yield temporary
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(temporary.iterdir(), key=lambda path: path.name == "metrics.json"):
                if path.is_dir():
                    shutil.rmtree(folder / path.name, ignore_errors=True)
                os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_alive(process: str) -> bool:
    """Whether a process of this number, in digits, runs on this machine."""
    try:
        os.kill(int(process), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
