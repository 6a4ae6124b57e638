"""Image files written by hand, of kinds that Pillow does not write."""

import struct
import zlib

import numpy as np


def png(bits: int, pixels: np.ndarray, width: int = 0) -> bytes:
    """Grey (h, w) or colours (h, w, 3); `width` is what the header tells instead."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    colour = 0 if pixels.ndim == 2 else 2
    header = (width or pixels.shape[1], pixels.shape[0], bits, colour, 0, 0, 0)
    rows = pixels.astype(">u2" if bits == 16 else np.uint8)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), chunk(b"IDAT", packed)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def tiff(order: str, bits: int, width: int, pixels: bytes) -> bytes:
    """Grey of 4 rows; `order` of the bytes is > or <."""
    tags = {256: width, 257: 4, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4}
    tags[279] = len(pixels)
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items()]
    start = b"MM\0*" if order == ">" else b"II*\0"
    start += struct.pack(f"{order}I", 8 + len(pixels))
    return start + pixels + struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(4)
