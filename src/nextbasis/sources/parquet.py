"""Hugging Face datasets: Parquet files with columns of encoded images and of labels or captions."""

import json
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nextbasis.config import DatasetConfig
from nextbasis.sources.archives import archives
from nextbasis.sources.images import load_photo
from nextbasis.sources.splits import (
    Images,
    Split,
    Splits,
    captioned,
    check_labels,
    check_same_classes,
    in_threads,
)
from nextbasis.support.words import listed

IMAGE = "image"  # column; an image is its bytes, or a struct with `bytes`
LABEL, CAPTION = "label", "caption"  # columns; one of them is read
FEATURES = b"huggingface"  # where Hugging Face's libraries say what the columns mean, in JSON


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
    _check_names(parquet.ParquetFile, [*paths["train"], *paths["test"]])
    found = {split: _rows(config, parquet.ParquetFile, files) for split, files in paths.items()}
    images = {
        split: partial(_images, config, parquet.ParquetFile, groups)
        for split, (groups, _) in found.items()
    }
    if not config.num_classes:
        return captioned({split: values for split, (_, values) in found.items()}, images)
    return {
        split: Split(labels=np.asarray(values, np.int64), images=images[split])
        for split, (_, values) in found.items()
    }


def _rows(config: DatasetConfig, opened: Any, paths: list[Path]) -> tuple[list[Group], list[Any]]:
    """Where the images are, and the label (int) or caption (str) of each."""
    groups: list[Group] = []
    values: list[Any] = []
    for path in paths:
        with _open(opened, path) as file:
            found = _values(file, path, config.num_classes == 0)
            start = len(values)
            for number in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                groups.append(Group(path, number, start, rows))
                start += rows
        if config.num_classes:
            check_labels(config, np.asarray(found, np.int64), str(path))
        values += found
    return groups, values


def _images(config: DatasetConfig, opened: Any, groups: list[Group], part: slice) -> Images:
    wanted = range(sum(group.rows for group in groups))[part]
    return in_threads(
        partial(load_photo, BytesIO(data), config.image_size, config.channels, name)
        for data, name in _encoded(opened, groups, wanted)
    )


def _open(opened: Any, path: Path) -> Any:
    try:
        return opened(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ValueError(f"{path} is not a complete Parquet file ({error})") from error


def _check_names(opened: Any, paths: list[Path]) -> None:
    """Check that all files name the same classes in the same order, where they name any.

    Raises: ValueError listing the difference.
    """
    told: dict[Path, list[str]] = {}
    for path in paths:
        with _open(opened, path) as file:
            about = json.loads((file.schema_arrow.metadata or {}).get(FEATURES, b"{}"))
        if names := about.get("info", {}).get("features", {}).get(LABEL, {}).get("names"):
            told[path] = names
    for path, names in told.items():
        first, expected = next(iter(told.items()))
        check_same_classes(expected, names, str(first), str(path))
        if names != expected:
            raise ValueError(f"{path} numbers its classes otherwise than {first}")


def _values(file: Any, path: Path, captions: bool) -> list[Any]:
    names, name = file.schema_arrow.names, CAPTION if captions else LABEL
    if missing := [column for column in (IMAGE, name) if column not in names]:
        raise ValueError(f"{path} has no column {missing[0]}; it has {listed(names)}")
    values: list[Any] = file.read(columns=[name]).column(name).to_pylist()
    kind, what = (str, "text") if captions else (int, "a class number")
    wrong = [row for row, value in enumerate(values) if not isinstance(value, kind)]
    if wrong:
        raise ValueError(f"{path}: row {wrong[0]} has the {name} {values[wrong[0]]!r}, not {what}")
    return values


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
