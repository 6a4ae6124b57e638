"""Memory-mapped .npy arrays with an index.json that says what they must look like."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy.lib.format import open_memmap
from torch import Tensor

from nextbasis.support.disk import named_when_full, reserve
from nextbasis.support.files import read_json, read_record, sha256
from nextbasis.support.npy import read_npy
from nextbasis.support.progress import track

CAPTIONS = "captions.json"  # a list of strings: what each label means
HASHED_BELOW = 2**32  # bytes
DATASET_KEYS = ("image_size", "channels", "num_classes", "num_train", "num_test", "sha256")
Shape = Sequence[int | None]  # None where any length is right


def create(path: Path, shape: Sequence[int], dtype: type) -> np.memmap:
    """A new .npy file to be filled slice by slice; flush it when done.

    Raises: OSError naming the file if the disk has no room for all of it; none of it is left then.
    """
    try:
        with named_when_full(path):
            array = open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
            reserve(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return array


def write_rows(
    path: Path, rows: Iterable[np.ndarray], shape: Sequence[int], dtype: type, what: str
) -> None:
    """Write shape[0] rows one after another, showing progress; memory holds one row."""
    array = create(path, shape, dtype)
    count = 0
    for row in track(rows, total=shape[0], unit="images", what=what):
        array[count] = row
        count += 1
    array.flush()
    assert count == shape[0]


def open_array(path: Path, dtype: type, shape: Shape, checksum: str = "") -> np.ndarray:
    """Map an existing .npy file, read-only, after checking what it is.

    Raises: FileNotFoundError or ValueError naming the file, expected and found.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; run the stage that makes it")
    try:
        array = read_npy(path, mapped=True)
    except ValueError as error:
        raise ValueError(f"{error}; delete it") from error
    if array.dtype != dtype:
        raise ValueError(f"{path} has dtype {array.dtype}, expected {np.dtype(dtype)}")
    if len(array.shape) != len(shape) or any(
        want not in (None, have) for have, want in zip(array.shape, shape, strict=True)
    ):
        raise ValueError(f"{path} has shape {array.shape}, expected {tuple(shape)}")
    if checksum and (found := sha256(path)) != checksum:
        raise ValueError(f"{path} has SHA-256 {found}, expected {checksum}; delete it")
    return array


def open_samples(folder: Path) -> tuple[UInt8[np.ndarray, "n h w c"], Int64[np.ndarray, " n"]]:
    """Images and labels of results/<scale>/sample/<evaluation>, mapped.

    Raises: FileNotFoundError or ValueError naming the file, expected and found.
    """
    images = open_array(folder / "samples.npy", np.uint8, (None, None, None, None))
    return images, open_array(folder / "labels.npy", np.int64, (len(images),))


class Dataset:
    """The arrays and captions of results/<scale>/dataset, checked against their index.

    Of more images than HASHED_BELOW, type and shape are checked but no checksum, which DVC knows:
    every job of a large dataset would else read all of it first.
    """

    def __init__(self, folder: Path) -> None:
        """Map the arrays.

        Raises: FileNotFoundError or ValueError naming the file, expected and found.
        """
        self.folder, self.index = folder, read_index(folder, DATASET_KEYS)
        self.image_size: int = self.index["image_size"]
        self.channels: int = self.index["channels"]
        self.num_classes: int = self.index["num_classes"]
        self.train_images, self.train_labels = self._split("train")
        self.test_images, self.test_labels = self._split("test")

    @cached_property
    def captions(self) -> list[str]:
        """What each label means; read when it is first asked for.

        Raises: FileNotFoundError or ValueError naming the file, expected and found.
        """
        path = self.folder / CAPTIONS
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}; run the stage that makes it")
        if (found := sha256(path)) != (expected := self.index["sha256"].get(CAPTIONS, "none")):
            raise ValueError(f"{path} has SHA-256 {found}, expected {expected}; delete it")
        captions: list[str] = read_json(path)
        if len(captions) != self.num_classes:
            raise ValueError(f"{path} holds {len(captions)} captions, expected {self.num_classes}")
        return captions

    def _split(self, split: str) -> tuple[UInt8[np.ndarray, "n h w c"], Int64[np.ndarray, " n"]]:
        count, size = self.index[f"num_{split}"], self.image_size
        checksums = self.index["sha256"]
        path, shape = self.folder / f"{split}_images.npy", (count, size, size, self.channels)
        checksum = checksums[path.name] if math.prod(shape) < HASHED_BELOW else ""
        images = open_array(path, np.uint8, shape, checksum)
        path = self.folder / f"{split}_labels.npy"
        labels = open_array(path, np.int64, (count,), checksums[path.name])
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(f"{path} holds labels outside 0..{self.num_classes - 1}")
        return images, labels


def read_index(folder: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The index.json of a folder, which must have `keys`.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    path = folder / "index.json"
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; run the stage that makes it")
    return read_record(path, keys)


def as_images(
    array: UInt8[np.ndarray, "b h w c"], device: torch.device
) -> Float[Tensor, "b c h w"]:
    """Bytes 0 to 255 as pixels in [-1, 1]."""
    pixels = torch.from_numpy(np.array(array)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def batches(
    images: np.ndarray, size: int, device: torch.device
) -> Iterator[Float[Tensor, "b c h w"]]:
    """All images in order, `size` at a time, as pixels in [-1, 1]."""
    for start in range(0, len(images), size):
        yield as_images(images[start : start + size], device)
