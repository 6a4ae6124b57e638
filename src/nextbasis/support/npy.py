"""NumPy's files, read without running any code; what is wrong with one is said with its name."""

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

ARCHIVE = b"PK"  # how an .npz file begins


def read_npy(path: Path, mapped: bool = False) -> np.ndarray:
    """The array of an .npy file; `mapped`, it stays on disk and cannot be written.

    Raises: ValueError naming the file if it is another kind of file, damaged, or holds objects.
    """
    with path.open("rb") as stream:
        start = stream.read(len(npy.MAGIC_PREFIX))
        if start.startswith(ARCHIVE):
            raise ValueError(f"{path} is an archive (.npz), not an .npy file of one array")
        if start != npy.MAGIC_PREFIX:
            raise ValueError(f"{path} is not a complete .npy file (it does not begin as one)")
        stream.seek(0)
        _check_whole(stream, path)
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds for damaged headers
        raise ValueError(f"{path} is not a complete .npy file ({reason(error)})") from error


def read_npz(path: Path, wanted: Iterable[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Those of the wanted arrays that an .npz file has, and the names of all that it has.

    Raises: ValueError naming the file if it is another kind of file, damaged, or holds objects.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            one = stream.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX
        what = "is an .npy file of one array" if one else "is not a complete .npz file"
        raise ValueError(f"{path} {what}")
    found, wanted = {}, list(wanted)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in wanted:
                find_member(archive, name)
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays.files)
            for name in (name for name in wanted if name in names):
                if not isinstance(array := arrays[name], np.ndarray):
                    raise ValueError(f"{name} does not begin as an array")
                found[name] = array
    except Exception as error:  # NumPy raises many kinds for damaged headers
        raise ValueError(f"{path} is not a complete .npz file ({reason(error)})") from error
    return found, names


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array that begins in a stream, which then stands at its numbers.

    Raises: ValueError if the header is damaged, or its array not a plain one in C order.
    """
    shape, fortran, dtype = _header(stream)
    if fortran or dtype.hasobject:
        raise ValueError("must be a plain array in C order")
    return shape, dtype


def check_size(shape: tuple[int, ...], dtype: np.dtype, found: int) -> None:
    """Nothing if an array takes as many bytes as were found.

    Raises: ValueError naming both.
    """
    if (told := math.prod(shape) * dtype.itemsize) != found:
        raise ValueError(
            f"has a header that tells of shape {shape}, {told:,} bytes, where {found:,} are there"
        )


def find_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
    """The file of an array in an .npz archive, if there is one; NumPy's own ends in .npy.

    Raises: ValueError if there are several: NumPy would read the last.
    """
    members = [each for each in archive.infolist() if each.filename in (name, f"{name}.npy")]
    if len(members) > 1:
        raise ValueError(f"it holds {name} {len(members)} times")
    return members[0] if members else None


def _check_whole(stream: IO[bytes], path: Path) -> None:
    """Nothing if an .npy file is what its header tells of.

    Raises: ValueError naming the file.
    """
    try:
        shape, _, dtype = _header(stream)
        if not dtype.hasobject:
            check_size(shape, dtype, path.stat().st_size - stream.tell())
    except ValueError as error:
        raise ValueError(f"{path} is not a complete .npy file ({error})") from error
    if dtype.hasobject:
        raise ValueError(f"{path} holds Python objects, which are not read; save plain numbers")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type of the array that begins in a stream.

    Raises: ValueError if the header is damaged.
    """
    try:
        version = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(stream)
    except Exception as error:  # NumPy raises many kinds for damaged headers
        raise ValueError(f"has a damaged header ({reason(error)})") from error
    if any(size < 0 for size in shape):
        raise ValueError(f"has a damaged header (the shape {shape})")
    return shape, fortran, dtype


def reason(error: Exception) -> str:
    """The first line of what NumPy says; not its advice to run what a file holds."""
    text = str(error).split("\n")[0]
    if "allow_pickle" in text:
        return "it holds Python objects, which are not read"
    return text if isinstance(error, ValueError | OSError | EOFError) else type(error).__name__
