"""An image of more pixels than Pillow takes is one line with its name, wherever it is read."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nextbasis.data.image_files import image_header, read_image
from nextbasis.scoring.samples import open_source

SIDE = 20_000  # 400 million pixels; Pillow refuses 179 million


def write_empty_png(path: Path, side: int) -> None:
    """A PNG that says that it has so many pixels a side; it need not have them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_enormous_images_are_named(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    write_empty_png(path, SIDE)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "0.png")
    for read in (
        image_header,
        lambda path: read_image(path, "L"),
        lambda path: open_source(tmp_path),
    ):
        with pytest.raises(ValueError, match=r"1.png is not a readable image .*400000000 pixels"):
            read(path)
