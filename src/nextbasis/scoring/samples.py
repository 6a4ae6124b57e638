"""Where images to score come from: arrays, .npy and .npz files, folders, a running sampler."""

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8
from numpy.lib import format as npy
from PIL import Image, UnidentifiedImageError

MODES = {"L": 1, "RGB": 3}  # kinds of image files that are read, and their channels
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
SAMPLE_ARRAY = "arr_0"  # as ADM's evaluation program names it
FOREIGN = ("mu", "sigma")  # which that program would take instead of the images
Batches = Iterator[UInt8[np.ndarray, "b h w c"]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images in a fixed order, read a batch at a time and never all at once."""

    what: str  # what messages call it
    shape: tuple[int, ...]  # (n, h, w, c)
    dtype: np.dtype
    read: Callable[[int], Batches]  # of a batch size
    from_file: bool  # somebody's file or folder, whose order is kept

    def __len__(self) -> int:
        """Number of images."""
        return self.shape[0]

    def batches(self, size: int) -> Batches:
        """All images, at most `size` at a time.

        Raises: ValueError if there are fewer or more than announced, or of another shape or type.
        """
        count = 0
        for batch in self.read(size):
            if batch.shape[1:] != self.shape[1:] or batch.dtype != self.dtype:
                raise ValueError(
                    f"{self.what}: images from {count} on are {batch.dtype} {batch.shape[1:]}, "
                    f"expected {self.dtype} {self.shape[1:]}"
                )
            count += len(batch)
            yield batch
        if count != len(self):
            raise ValueError(f"{self.what}: {count} images came, expected {len(self)}")


def from_array(images: np.ndarray, what: str = "images", from_file: bool = False) -> Source:
    """An array, which may be a memory map."""

    def read(size: int) -> Batches:
        for start in range(0, len(images), size):
            yield np.array(images[start : start + size])  # maps are read-only

    return Source(what=what, shape=images.shape, dtype=images.dtype, read=read, from_file=from_file)


def from_batches(batches: Iterable[np.ndarray], shape: tuple[int, int, int, int]) -> Source:
    """What a running sampler yields; it can be read once, in batches of its own size."""
    return Source(
        what="sampler",
        shape=shape,
        dtype=np.dtype(np.uint8),
        read=lambda _size: iter(batches),
        from_file=False,
    )


def open_source(path: Path) -> Source:
    """Images in a .npy file, in `arr_0` of a .npz file, or in the image files of a folder.

    Raises: FileNotFoundError; ValueError naming the file and what is wrong with it.
    """
    if path.is_dir():
        return _from_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {path}")
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix != ".npy":
        raise ValueError(f"{path} is neither a .npy or .npz file nor a folder of images")
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is not a complete .npy file ({error})") from error
    return from_array(images, str(path), from_file=True)


def _from_npz(path: Path) -> Source:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if foreign := [name for name in FOREIGN if name in names]:
                raise ValueError(
                    f"{path} holds {' and '.join(foreign)}: it is a file of statistics, or samples "
                    "that the official program would score by them; remove them from the samples"
                )
            if SAMPLE_ARRAY not in names:
                raise ValueError(f"{path} has no {SAMPLE_ARRAY}; it has {', '.join(names)}")
            with archive.open(f"{SAMPLE_ARRAY}.npy") as stream:
                shape, dtype = _header(stream, path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a complete .npz file ({error})") from error

    def read(size: int) -> Batches:
        # The archive is read in order, so that compressed files need no more memory.
        row = int(np.prod(shape[1:])) * dtype.itemsize
        with zipfile.ZipFile(path) as archive, archive.open(f"{SAMPLE_ARRAY}.npy") as stream:
            _header(stream, path)
            for start in range(0, shape[0], size):
                count = min(size, shape[0] - start)
                try:
                    data = bytearray(stream.read(count * row))
                except (zipfile.BadZipFile, zlib.error) as error:
                    raise ValueError(f"{path} is damaged after image {start} ({error})") from error
                if len(data) != count * row:
                    raise ValueError(f"{path} ends before image {start + count}")
                yield np.frombuffer(data, dtype).reshape(count, *shape[1:])

    return Source(what=str(path), shape=shape, dtype=dtype, read=read, from_file=True)


def _header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(stream)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = reader(stream)
    if fortran or dtype.hasobject:
        raise ValueError(f"{path}: {SAMPLE_ARRAY} must be a plain array in C order")
    return shape, dtype


def _from_folder(path: Path) -> Source:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{path} holds 0 images ({', '.join(SUFFIXES)})")
    shape = load_image(files[0]).shape
    for file in files[1:]:  # headers only, before any long work
        if (found := _size(file)) != shape:
            raise ValueError(
                f"{file} has height, width and channels {found}, {files[0].name} has {shape}: "
                "nothing is resized silently"
            )

    def read(size: int) -> Batches:
        for start in range(0, len(files), size):
            yield np.stack([load_image(file) for file in files[start : start + size]])

    return Source(
        what=str(path),
        shape=(len(files), *shape),
        dtype=np.dtype(np.uint8),
        read=read,
        from_file=True,
    )


def load_image(path: Path) -> UInt8[np.ndarray, "h w c"]:
    """An image file as it is.

    Raises: ValueError naming the file if it is damaged, or not 8-bit grey or RGB.
    """
    _size(path)
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except OSError as error:
        raise ValueError(f"{path} is not a complete image ({error})") from error
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _size(path: Path) -> tuple[int, int, int]:
    try:
        with Image.open(path) as image:
            mode, width, height = image.mode, *image.size
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is not a readable image ({error})") from error
    if mode not in MODES:
        raise ValueError(
            f"{path} is of mode {mode}; only 8-bit grey (L) and RGB are scored: transparency and "
            "16 bits would be lost silently"
        )
    return height, width, MODES[mode]
