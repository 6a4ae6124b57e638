"""Hugging Face datasets: Parquet files with a column of encoded images and one of labels."""

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from nextbasis.config import DatasetConfig
from nextbasis.data.archives import archives
from nextbasis.data.images import load_photo
from nextbasis.data.splits import Split, Splits, check_labels, in_threads

IMAGE, LABEL = "image", "label"  # columns; an image is its bytes, or a struct with `bytes`


class Group(NamedTuple):
    """Rows of a file that are read together."""

    path: Path
    number: int  # in its file
    start: int  # its first row, counted over all files
    rows: int


def read(config: DatasetConfig, location: str) -> Splits:
    """The splits; `location` is two patterns of Parquet files, see `archives`.

    Raises: FileNotFoundError or ValueError naming the file, the column or what is not installed.
    """
    paths = archives(location)
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            "Parquet files need pyarrow, the extra `parquet`: pip install 'nextbasis[parquet]'"
        ) from error
    return {split: _split(config, parquet.ParquetFile, files) for split, files in paths.items()}


def _split(config: DatasetConfig, opened: Any, paths: list[Path]) -> Split:
    groups: list[Group] = []
    labels: list[Int64[np.ndarray, " n"]] = []
    for path in paths:
        with _open(opened, path) as file:
            found = _labels(file, path)
            start = sum(map(len, labels))
            for number in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                groups.append(Group(path, number, start, rows))
                start += rows
        check_labels(config, found, str(path))
        labels.append(found)
    together = np.concatenate(labels)

    def images(part: slice) -> Iterator[UInt8[np.ndarray, "s s c"]]:
        wanted = range(len(together))[part]
        return in_threads(
            partial(load_photo, BytesIO(data), config.image_size, config.channels, name)
            for data, name in _encoded(opened, groups, wanted)
        )

    return Split(labels=together, images=images)


def _open(opened: Any, path: Path) -> Any:
    try:
        return opened(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ValueError(f"{path} is not a complete Parquet file ({error})") from error


def _labels(file: Any, path: Path) -> Int64[np.ndarray, " n"]:
    names = file.schema_arrow.names
    if missing := [name for name in (IMAGE, LABEL) if name not in names]:
        raise ValueError(f"{path} has no column {missing[0]}; it has {', '.join(names)}")
    values = file.read(columns=[LABEL]).column(LABEL).to_pylist()
    wrong = [row for row, value in enumerate(values) if not isinstance(value, int)]
    if wrong:
        raise ValueError(
            f"{path}: row {wrong[0]} has the label {values[wrong[0]]!r}, not a class number"
        )
    return np.asarray(values, np.int64)


def _encoded(opened: Any, groups: list[Group], wanted: range) -> Iterator[tuple[bytes, str]]:
    """Bytes and name of the images of consecutive rows; memory holds one group."""
    for path, number, start, rows in groups:
        first, last = max(wanted.start, start), min(wanted.stop, start + rows)
        if first >= last:
            continue
        with _open(opened, path) as file:
            cells = file.read_row_group(number, columns=[IMAGE]).column(IMAGE).to_pylist()
        for row in range(first, last):
            cell = cells[row - start]
            data = cell["bytes"] if isinstance(cell, dict) else cell
            name = f"{path}: image {row - start} of row group {number}"
            if not isinstance(data, bytes):
                raise ValueError(f"{name} has no bytes; files beside it are not read")
            yield data, name
