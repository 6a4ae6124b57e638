"""The idx format of MNIST and its successors: big-endian header, then bytes."""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

UNSIGNED_BYTE = 0x08  # the header's type code


def parse(data: bytes, name: str) -> UInt8[np.ndarray, "..."]:
    """The array in `data`; `name` is used in messages only.

    Raises: ValueError if the header is not that of unsigned bytes or the length does not fit it.
    """
    if len(data) < 4 or data[:3] != bytes((0, 0, UNSIGNED_BYTE)) or data[3] == 0:
        raise ValueError(
            f"{name} is not an idx file of unsigned bytes: it starts with "
            f"{data[:4].hex(' ') or 'nothing'}, expected 00 00 08 and the number of axes"
        )
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{name} is truncated inside its header of {start} bytes")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) != start + math.prod(shape):
        raise ValueError(
            f"{name} holds {len(data) - start} bytes after its header, "
            f"expected {math.prod(shape)} for shape {shape}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read(path: Path, checksums: Mapping[str, str]) -> UInt8[np.ndarray, "..."]:
    """Read one file, gzipped or not, whose SHA-256 (of the unpacked bytes) is listed by name.

    Raises: ValueError if the file is corrupt or differs from its checksum.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); delete it") from error
    name = path.name.removesuffix(".gz")
    check(str(path), hashlib.sha256(data).hexdigest(), checksums.get(name))
    return parse(data, str(path))


def check(what: str, found: str, expected: str | None) -> None:
    """Compare a SHA-256 with the one configured, if there is one.

    Raises: ValueError naming what differs, expected and found.
    """
    if expected is not None and found != expected:
        raise ValueError(
            f"{what} has SHA-256 {found}, expected {expected}: it is damaged or another version"
        )
