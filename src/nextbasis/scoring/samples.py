"""Where images to score come from: arrays, .npy and .npz files, folders, a running sampler."""

import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8

from nextbasis.data.image_files import LOSSY, Header, image_header, read_image
from nextbasis.data.image_folders import SUFFIXES, Listing, list_images
from nextbasis.support import npy
from nextbasis.support.words import listed

MODES = {"L": 1, "RGB": 3}  # kinds of image files that are read, and their channels
KINDS = {  # others, and what to do about them
    "1": "its pixels have 1 bit; write them as grey of 8",
    "P": "its pixels are places in a palette; write their colours as RGB or grey",
    "CMYK": "its colours are for print; write them as RGB",
}
ORDER = "natural: numbers in names as numbers"
SAMPLE_ARRAY = "arr_0"  # as ADM's evaluation program names it
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # the last if encrypted
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
    stored: dict[str, str] = field(default_factory=dict)  # of somebody's: format and order of files
    remarks: list[str] = field(default_factory=list)  # what whoever brings them must know
    order: list[str] = field(default_factory=list)  # the same, if there are labels in that order

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

    Those of a folder come in natural order, 2.png before 10.png.

    Raises: FileNotFoundError; ValueError naming the file and what is wrong with it.
    """
    if path.is_dir():
        return _from_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {path}")
    if path.suffix.lower() == ".npz":
        return _from_npz(path)
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path} is neither a .npy or .npz file nor a folder of images")
    images = npy.read_npy(path, mapped=True)
    return replace(from_array(images, str(path), from_file=True), stored={"file_format": "npy"})


def _from_npz(path: Path) -> Source:
    try:
        with zipfile.ZipFile(path) as archive:
            names = list(dict.fromkeys(name.removesuffix(".npy") for name in archive.namelist()))
            if foreign := [name for name in FOREIGN if name in names]:
                raise ValueError(
                    f"{path} holds {' and '.join(foreign)}: it is a file of statistics, or samples "
                    "that the official program would score by them; remove them from the samples"
                )
            member = _member(archive, path)
            if member is None:
                raise ValueError(f"{path} has no {SAMPLE_ARRAY}; it has {listed(names)}")
            with archive.open(member) as stream:
                shape, dtype = _header(stream, path, member.file_size)
    except BROKEN as error:
        raise ValueError(f"{path} is not a complete .npz file ({error})") from error

    def read(size: int) -> Batches:
        # The archive is read in order, so that compressed files need no more memory.
        row = int(np.prod(shape[1:])) * dtype.itemsize
        with zipfile.ZipFile(path) as archive, archive.open(member.filename) as stream:
            _header(stream, path, member.file_size)
            for start in range(0, shape[0], size):
                count = min(size, shape[0] - start)
                try:
                    data = bytearray(stream.read(count * row))
                except BROKEN as error:
                    raise ValueError(f"{path} is damaged after image {start} ({error})") from error
                if len(data) != count * row:
                    raise ValueError(f"{path} ends before image {start + count}")
                yield np.frombuffer(data, dtype).reshape(count, *shape[1:])

    return Source(
        what=str(path),
        shape=shape,
        dtype=dtype,
        read=read,
        from_file=True,
        stored={"file_format": "npz"},
    )


def _member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo | None:
    try:
        return npy.find_member(archive, SAMPLE_ARRAY)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _header(stream: IO[bytes], path: Path, size: int) -> tuple[tuple[int, ...], np.dtype]:
    try:
        shape, dtype = npy.read_header(stream)
        npy.check_size(shape, dtype, size - stream.tell())
        return shape, dtype
    except ValueError as error:
        raise ValueError(f"{path}: {SAMPLE_ARRAY} {error}") from error


def _from_folder(path: Path) -> Source:
    listing = list_images(path)
    files = listing.files
    if not files:
        told = f"; {text}" if (text := listing.remark()) else ""
        raise ValueError(f"{path} holds 0 images ({', '.join(sorted(SUFFIXES))}){told}")
    first, formats = image_header(files[0]), Counter[str]()
    shape, mode = _shape(files[0], first), first.mode
    for file in files:  # headers only, before any long work
        header = image_header(file)
        formats[header.format] += 1
        if (found := _shape(file, header)) != shape:
            raise ValueError(
                f"{file} has height, width and channels {found}, {files[0].name} has {shape}: "
                "nothing is resized silently"
            )

    def read(size: int) -> Batches:
        for start in range(0, len(files), size):
            images = [np.asarray(read_image(file, mode)) for file in files[start : start + size]]
            yield np.stack(images).reshape(-1, *shape)

    return Source(
        what=str(path),
        shape=(len(files), *shape),
        dtype=np.dtype(np.uint8),
        read=read,
        from_file=True,
        stored={"file_format": _told(formats), "file_order": ORDER},
        remarks=list(_remarks(listing, formats)),
        order=list(_order(listing)),
    )


def _shape(file: Path, header: Header) -> tuple[int, int, int]:
    """Height, width and channels of an image file.

    Raises: ValueError naming the file if its pixels are not 8-bit grey or RGB.
    """
    kind, why = header.mode, KINDS.get(header.mode, "convert it as it was meant")
    if header.is_transparent:
        why = "transparency would be lost silently"
        kind += " with a transparent colour" if kind in MODES else ""
    if header.bits > 8:
        why = f"{header.bits} bits would be lost silently"
        kind += f" with {header.bits} bits" if kind in MODES else ""
    if kind not in MODES:
        raise ValueError(f"{file} is of mode {kind}; only 8-bit grey (L) and RGB are scored: {why}")
    return header.height, header.width, MODES[kind]


def _told(formats: Counter[str]) -> str:
    """Formats of files, with how many there are of each if there are several."""
    if len(formats) == 1:
        return next(iter(formats))
    return listed(f"{name} ({count})" for name, count in sorted(formats.items()))


def _remarks(listing: Listing, formats: Counter[str]) -> Iterator[str]:
    """What is not as one might think: files left out, pixels that were changed."""
    if text := listing.remark():
        yield text
    if lossy := sorted(formats.keys() & set(LOSSY)):
        count = sum(formats[name] for name in lossy)
        yield (
            f"{count} of {len(listing.files)} images are stored as {', '.join(lossy)}, which "
            "changes pixels and with them every score; score PNG files, .npy or .npz"
        )


def _order(listing: Listing) -> Iterator[str]:
    """Where natural order is another than that of plain strings."""
    plain = sorted(listing.files)
    if swapped := [pair for pair in zip(listing.files, plain, strict=True) if pair[0] != pair[1]]:
        ours, theirs = (file.relative_to(listing.folder) for file in swapped[0])
        yield (
            f"files are read in natural order, numbers in names as numbers: {ours} comes where "
            f"plain strings would put {theirs}; labels are taken in this order"
        )
