"""One array in several .npy files, row after row: <folder>/00000.npy, …

They can be mapped into memory, but rows at random are not read so: the system then reads a large
piece around each, hundreds of times what is wanted, or one page after another.
"""

import hashlib
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from nextbasis.data.arrays import open_array
from nextbasis.support.files import sha256

FOLDER = "shards"  # of tokens, beside their index.json
Entry = dict[str, Any]  # of an index.json: a shard's `name`, its number of `images`, its `sha256`


def ranges(count: int, size: int) -> list[slice]:
    """The rows of each shard: `size`, and of the last one what is left of `count`."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def name_of(number: int) -> str:
    """File name of shard 0, 1, 2, …"""
    return f"{number:05}.npy"


def entry(path: Path, images: int) -> Entry:
    """What an index says of a finished shard."""
    return {"name": path.name, "images": images, "sha256": sha256(path)}


def sha256_of(entries: Sequence[Entry]) -> str:
    """SHA-256 of all shards: that of their own, as hexadecimal digits one after another."""
    return hashlib.sha256("".join(each["sha256"] for each in entries).encode()).hexdigest()


class Shards:
    """An array (rows, *shape) whose rows are read at random; memory holds what is read alone."""

    def __init__(
        self, folder: Path, entries: Sequence[Entry], dtype: type, shape: Sequence[int]
    ) -> None:
        """Open every file, after checking type and shape but not its checksum.

        Raises: FileNotFoundError or ValueError naming the shard, expected and found.
        """
        self.folder, self.entries, self.dtype = folder, entries, np.dtype(dtype)
        self._files: list[int] = []
        self._offsets: list[int] = []  # of the first row, in bytes
        weakref.finalize(self, _close, self._files)
        for each in entries:
            path = folder / each["name"]
            array = open_array(path, dtype, (each["images"], *shape))
            assert isinstance(array, np.memmap) and array.flags.c_contiguous
            self._offsets.append(array.offset)
            self._files.append(os.open(path, os.O_RDONLY))
            _advise(self._files[-1], 0, 0, "RANDOM")
        self._ends = np.cumsum([each["images"] for each in entries])
        self.shape = (int(self._ends[-1]), *shape)

    def __len__(self) -> int:
        """How many rows all shards have."""
        return self.shape[0]

    def take(
        self, rows: Int64[np.ndarray, " b"], columns: Int64[np.ndarray, " b"]
    ) -> Shaped[np.ndarray, "b ..."]:
        """A copy of array[rows, columns]: one entry of the second axis for each row."""
        found = np.empty((len(rows), *self.shape[2:]), self.dtype)
        shards = np.searchsorted(self._ends, rows, side="right")
        size = found[:1].nbytes
        wanted = []
        for shard, row, column in zip(shards, rows, columns, strict=True):
            first = self._ends[shard] - self.entries[shard]["images"]
            place = int((row - first) * self.shape[1] + column) * size + self._offsets[shard]
            wanted.append((self._files[shard], place))
        for file, place in wanted:  # the disk can fetch many at a time
            _advise(file, place, size, "WILLNEED")
        for number, (file, place) in enumerate(wanted):
            if os.preadv(file, [found[number : number + 1].data], place) != size:
                name = self.entries[shards[number]]["name"]
                raise ValueError(f"{self.folder / name} became shorter while it was read")
        return found

    def verify(self) -> None:
        """Read everything and compare it with the checksums.

        Raises: ValueError naming the shard, expected and found.
        """
        for each in self.entries:
            path = self.folder / each["name"]
            if (found := sha256(path)) != each["sha256"]:
                raise ValueError(
                    f"{path} has SHA-256 {found}, expected {each['sha256']}; "
                    "delete it and rerun stage tokens"
                )


def _advise(file: int, start: int, size: int, what: str) -> None:
    """Tell the system what will be read of a file, where it can be told."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, start, size, getattr(os, f"POSIX_FADV_{what}"))


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
