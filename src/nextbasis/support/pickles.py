"""What torch.save wrote, read without running any code that the file may hold."""

import argparse
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # torch.save's older files, near their beginning
DAMAGED = "is not a complete PyTorch file of tensors; download it again"
# Where classes come from whose objects stand beside weights: arguments, counters, settings.
BESIDE = (
    *("numpy", "pathlib", "datetime", "decimal", "uuid", "types", "typing", "enum"),
    *("omegaconf", "easydict", "yacs", "pytorch_lightning", "lightning"),
)
PICKLE = b"\x80"  # how a pickle of protocol 2 or later begins
FACTORIES = tuple(f"builtins.{name}" for name in ("int", "float", "str", "bool", "dict", "list"))
MAPPINGS = ("collections.defaultdict", "easydict.EasyDict")  # made of such a factory, or of nothing


class Unread:
    """Stands for an object that is no tensor: it takes whatever it is told and does nothing."""

    def __new__(cls, *_arguments: Any) -> "Unread":
        """Read none of the arguments."""
        return super().__new__(cls)

    def __init__(self, *_arguments: Any) -> None:
        """Keep none of the arguments."""

    def __setstate__(self, _state: Any) -> None:
        """Keep nothing."""


class _Mapping:
    """Makes a plain dictionary in the place of another."""

    def __new__(cls, *_arguments: Any) -> Any:
        return {}


def read(path: Path) -> Any:
    """The content of a file of torch.save.

    Objects of the modules in BESIDE are `Unread`: none of their code runs, whatever the file says.

    Raises: ValueError if the file is damaged, another program's, or would run code.
    """
    try:
        _check_archive(path)
        names = {name for name in _named_in(path) if name.split(".")[0] in BESIDE}
        stand_ins: list[Any] = [argparse.Namespace]
        stand_ins += [(Unread, name) for name in {*names, *FACTORIES} - {*MAPPINGS}]
        stand_ins += [(_Mapping, name) for name in MAPPINGS]
        with (
            path.open("rb") as stream,  # torch would read a file of some names otherwise
            warnings.catch_warnings(action="ignore"),  # what torch cannot read, it refuses
            torch.serialization.safe_globals(stand_ins),
        ):
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Foreign as error:
        raise ValueError(f"{path} {error}") from error
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} {_reason(error, path)}") from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise ValueError(f"{path} {DAMAGED} ({type(error).__name__} while reading)") from error


class Foreign(Exception):
    """A file that is whole, and not of torch.save."""


def _check_archive(path: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = {name.rpartition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in files:
            raise Foreign("is a TorchScript program, not weights; save its state_dict()")
        if "data.pkl" not in files:
            raise Foreign(f"is an archive that torch.save did not write ({min(files)}, …)")
        return
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(PICKLE) and len(start) > len(MAGIC) and MAGIC not in start:
        raise Foreign(
            "is refused: it is a plain pickle, not a file of torch.save; save its weights with "
            "torch.save, with the program that wrote it"
        )


def _named_in(path: Path) -> Iterator[str]:
    """Full names of the classes and functions that a file names, found without unpickling it."""
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            yield from _globals(stream)
            return
        with zipfile.ZipFile(stream) as archive:
            for member in archive.namelist():
                if member.endswith("data.pkl"):
                    with archive.open(member) as pickled:
                        yield from _globals(pickled)


def _globals(stream: Any) -> Iterator[str]:
    """Those of the pickles that follow each other in a stream, up to something else."""
    try:
        while True:
            for code, argument, _ in pickletools.genops(stream):
                if code.name == "GLOBAL":
                    yield str(argument).replace(" ", ".", 1)
    except (ValueError, EOFError):
        return


def _reason(error: pickle.UnpicklingError, path: Path) -> str:
    """What is wrong; torch's own message advises to run the code, so it is not repeated."""
    foreign = re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", str(error))
    if foreign:
        return (
            f"is refused: it holds an object ({foreign[1]}) that would run code when read; an "
            "official checkpoint holds tensors, numbers and plain settings. If you trust it, save "
            "its weights alone, {'model': weights}, with the program that wrote it"
        )
    if "Unsupported operand" in str(error) and zipfile.is_zipfile(path):
        return "uses another pickle protocol than 2, torch.save's default; save it with that one"
    return f"{DAMAGED} (UnpicklingError while reading)"
