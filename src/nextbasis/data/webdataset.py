"""WebDataset: tar files in which <key>.jpg (or .png) and <key>.cls, a number, are one image."""

import tarfile
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nextbasis.config import DatasetConfig
from nextbasis.data.archives import archives
from nextbasis.data.images import load_photo
from nextbasis.data.splits import Split, Splits, check_labels, in_threads

LABEL = "cls"
PHOTOS = ("jpg", "jpeg", "png")


class Member(NamedTuple):
    """Where in a tar file an image's bytes are."""

    archive: Path
    name: str
    offset: int
    size: int


def read(config: DatasetConfig, location: str) -> Splits:
    """The splits; `location` is two patterns of tar files, see `archives`.

    Raises: FileNotFoundError or ValueError naming the file and the image.
    """
    return {split: _split(config, paths) for split, paths in archives(location).items()}


def _split(config: DatasetConfig, paths: list[Path]) -> Split:
    members: list[Member] = []
    labels: list[int] = []
    for path in paths:
        found = _index(path)
        check_labels(config, np.asarray([label for _, label in found], np.int64), str(path))
        members += [member for member, _ in found]
        labels += [label for _, label in found]
    return Split(
        labels=np.asarray(labels, np.int64),
        images=lambda part: in_threads(partial(_photo, config, each) for each in members[part]),
    )


def _index(path: Path) -> list[tuple[Member, int]]:
    """Every image of a tar file with its label, in order; no image is read."""
    photos: dict[str, Member] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                folder, _, name = info.name.rpartition("/")
                stem, _, ending = name.partition(".")
                key, ending = f"{folder}/{stem}", ending.lower()
                if ending == LABEL:
                    labels[key] = _label(archive, info, path)
                elif ending in PHOTOS and key in photos:
                    raise ValueError(f"{path}: {info.name} and {photos[key].name} share a key")
                elif ending in PHOTOS:
                    photos[key] = Member(path, info.name, info.offset_data, info.size)
    except tarfile.TarError as error:
        raise ValueError(
            f"{path} is not a complete tar file without compression ({error})"
        ) from error
    if missing := [photos[key].name for key in photos if key not in labels]:
        raise ValueError(f"{path}: {missing[0]} has no class label (.{LABEL}) beside it")
    if missing := [key.lstrip("/") for key in labels if key not in photos]:
        raise ValueError(f"{path}: {missing[0]}.{LABEL} has no image ({', '.join(PHOTOS)})")
    return [(photos[key], labels[key]) for key in photos]


def _label(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> int:
    stream = archive.extractfile(info)
    text = b"" if stream is None else stream.read()
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{path}: {info.name} holds {text[:20]!r}, not a class number") from None


def _photo(config: DatasetConfig, member: Member) -> UInt8[np.ndarray, "s s c"]:
    with member.archive.open("rb") as stream:
        stream.seek(member.offset)
        data = BytesIO(stream.read(member.size))
    name = f"{member.archive}: {member.name}"
    return load_photo(data, config.image_size, config.channels, name)
