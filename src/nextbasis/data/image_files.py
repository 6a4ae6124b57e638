"""What an image file holds: its format, and its pixels as 8 bits without loss of range."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from PIL import Image

# What content is tried as. Others, such as PostScript, would start programs.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
LOSSY = ("AVIF", "GIF", "JPEG", "JPEG2000", "MPO", "WEBP")  # most files of these
STILL = ("MPO",)  # formats whose first picture is the one meant: photographs with a preview
LEVELS = 257  # of 16 bits, in one of 8
INVERTED = 0  # TIFF's tag PhotometricInterpretation where white is 0
PHOTOMETRIC = 262
PICTURE_BOX, BOX_HEADER = b"jp2c", 8  # of JPEG 2000: the kind of its picture's box; bytes
DAMAGE = (  # what Pillow raises of damaged files, and of enormous ones
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError),
    *(struct.error, Image.DecompressionBombError),
    RuntimeError,  # of AVIF's decoder
)


@dataclass(frozen=True)
class Header:
    """What an image file says of itself."""

    format: str  # such as PNG
    mode: str  # Pillow's name of the kind of pixels
    height: int
    width: int
    bits: int  # of a pixel's channel: 8 or 16
    is_transparent: bool


def image_header(path: Path) -> Header:
    """What a file says of itself; its pixels are not read.

    Raises: ValueError naming the file if it is damaged or holds several images.
    """
    with _opened(path, str(path)) as image:
        is_jpeg = image.info.get("compression") == "jpeg"  # inside a TIFF
        return Header(
            format="JPEG" if is_jpeg else str(image.format),
            mode=image.mode,
            height=image.height,
            width=image.width,
            bits=16 if _is_deep(image) else 8,
            is_transparent="transparency" in image.info or image.mode.endswith(("A", "a")),
        )


def read_image(file: Path | BinaryIO, mode: str, name: str = "") -> Image.Image:
    """An image file as 8-bit grey (`L`) or `RGB`; 16-bit grey keeps its range, 65535 being white.

    Raises: ValueError with the file's name (`name` if it is open already) if it is damaged, holds
    several images or numbers whose white is unknown.
    """
    with _opened(file, name or str(file)) as image:
        if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
            levels = np.asarray(image).astype(np.uint32)
            grey = ((levels + LEVELS // 2) // LEVELS).astype(np.uint8)
            return Image.fromarray(grey).convert(mode)
        return image.convert(mode)


@contextmanager
def _opened(file: Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(file, formats=FORMATS) as image:
            if problem := _unreadable(image):
                raise ValueError(problem)
            yield image
    except DAMAGE as error:
        raise ValueError(f"{name} is not a readable image ({error})") from error


def _unreadable(image: Image.Image) -> str:
    """What keeps an image that is not damaged from being read; nothing if it can be."""
    if image.format not in STILL and (count := getattr(image, "n_frames", 1)) > 1:
        return f"it holds {count} images, and it is not known which one is meant"
    if image.format == "JPEG2000" and _is_cut(image.fp):  # type: ignore[attr-defined]
        return "it ends inside its picture"
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        return "its pixels are numbers of 32 bits, and it is not known which one is white"
    if image.mode.startswith("I;16") and image.format == "TIFF":
        if "12" in _kind(image):
            return "its pixels have 12 bits; write them as 8 or 16"
        if image.tag_v2.get(PHOTOMETRIC) == INVERTED:  # type: ignore[attr-defined]
            return "its 16-bit pixels are inverted, 0 being white; write them with 0 as black"
    return ""


def _is_cut(stream: IO[bytes]) -> bool:
    """Whether a JPEG 2000 file ends inside the box of its picture, of which Pillow may read a part.

    A file without boxes does not say how long it is.
    """
    before = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    start = 0
    kind, length = _box(stream, start)
    while kind != PICTURE_BOX and length >= BOX_HEADER and start + length < size:
        start += length
        kind, length = _box(stream, start)
    stream.seek(before)
    return kind == PICTURE_BOX and start + length > size


def _box(stream: IO[bytes], start: int) -> tuple[bytes, int]:
    """Kind and length of the box that begins at `start`; 0 is a length up to the file's end."""
    stream.seek(start)
    header = stream.read(2 * BOX_HEADER)
    length = int.from_bytes(header[:4])
    return header[4:8], int.from_bytes(header[8:]) if length == 1 else length


def _is_deep(image: Image.Image) -> bool:
    """Whether channels have 16 bits, though Pillow may only give 8 of colours."""
    return image.mode.startswith("I") or ";16" in _kind(image)


def _kind(image: Image.Image) -> str:
    """The kind of pixels in the file, as Pillow's decoder is told; nothing if it is not."""
    told = [tile.args for tile in getattr(image, "tile", [])]
    return str(told[0] if isinstance(told[0], str) else told[0][:1]) if told and told[0] else ""
