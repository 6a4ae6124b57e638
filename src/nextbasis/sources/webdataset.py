"""WebDataset: tar files in which <key>.jpg (or .png) and <key>.cls, a number, are one image.

Where captions take the place of classes, <key>.txt takes the place of <key>.cls.
"""

import tarfile
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nextbasis.config import DatasetConfig
from nextbasis.sources.archives import archives
from nextbasis.sources.images import load_photo
from nextbasis.sources.splits import Images, Split, Splits, captioned, check_labels, in_threads

LABEL, CAPTION = "cls", "txt"
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
    found = {split: _samples(config, paths) for split, paths in archives(location).items()}
    images = {
        split: partial(_photos, config, [member for member, _ in samples])
        for split, samples in found.items()
    }
    texts = {split: [text for _, text in samples] for split, samples in found.items()}
    if not config.num_classes:
        return captioned(texts, images)
    return {
        split: Split(labels=np.asarray(texts[split], np.int64), images=images[split])
        for split in found
    }


def _samples(config: DatasetConfig, paths: list[Path]) -> list[tuple[Member, str]]:
    samples: list[tuple[Member, str]] = []
    for path in paths:
        found = _index(path, LABEL if config.num_classes else CAPTION)
        if config.num_classes:
            labels = np.asarray([text for _, text in found], np.int64)
            check_labels(config, labels, str(path))
        samples += found
    return samples


def _index(path: Path, beside: str) -> list[tuple[Member, str]]:
    """Every image of a tar file with the text beside it, in order; no image is read."""
    photos: dict[str, Member] = {}
    texts: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                folder, _, name = info.name.rpartition("/")
                stem, _, ending = name.partition(".")
                key, ending = f"{folder}/{stem}", ending.lower()
                if ending == beside:
                    texts[key] = _text(archive, info, path)
                elif ending in PHOTOS and key in photos:
                    raise ValueError(f"{path}: {info.name} and {photos[key].name} share a key")
                elif ending in PHOTOS:
                    photos[key] = Member(path, info.name, info.offset_data, info.size)
    except tarfile.TarError as error:
        raise ValueError(
            f"{path} is not a complete tar file without compression ({error})"
        ) from error
    what = "class label" if beside == LABEL else "caption"
    if missing := [photos[key].name for key in photos if key not in texts]:
        raise ValueError(f"{path}: {missing[0]} has no {what} (.{beside}) beside it")
    if missing := [key.lstrip("/") for key in texts if key not in photos]:
        raise ValueError(f"{path}: {missing[0]}.{beside} has no image ({', '.join(PHOTOS)})")
    return [(photos[key], texts[key]) for key in photos]


def _text(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> str:
    stream = archive.extractfile(info)
    data = b"" if stream is None else stream.read()
    is_label = info.name.lower().endswith(f".{LABEL}")
    try:
        return str(int(data)) if is_label else data.decode()
    except ValueError:
        what = "a class number" if is_label else "text in UTF-8"
        raise ValueError(f"{path}: {info.name} holds {data[:20]!r}, not {what}") from None


def _photos(config: DatasetConfig, members: list[Member], part: slice) -> Images:
    return in_threads(partial(_photo, config, member) for member in members[part])


def _photo(config: DatasetConfig, member: Member) -> UInt8[np.ndarray, "s s c"]:
    with member.archive.open("rb") as stream:
        stream.seek(member.offset)
        data = BytesIO(stream.read(member.size))
    name = f"{member.archive}: {member.name}"
    return load_photo(data, config.image_size, config.channels, name)
