"""WebDataset: tar files in which <key>.jpg (or another image) and <key>.cls, a number, are one.

Where captions take the place of classes, <key>.txt takes the place of <key>.cls.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import UInt8

from nextbasis.config import DatasetConfig
from nextbasis.data.image_folders import OTHERS, SUFFIXES, is_hidden
from nextbasis.sources.archives import archives
from nextbasis.sources.images import load_photo
from nextbasis.sources.splits import Images, Split, Splits, captioned, check_labels, in_threads
from nextbasis.support.words import listed

LABEL, CAPTION = "cls", "txt"
NUMBER = re.compile(rb"[+-]?[0-9]{1,18}")  # what 64 bits hold
IMAGES = SUFFIXES | OTHERS
CHUNK = 1 << 20  # bytes read at a time behind the end


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
    """Every image of a tar file with the text beside it, in order; no image is read.

    What is left out is printed: hidden files, and further images of a sample, as in
    <key>.mask.png beside <key>.jpg.
    """
    photos, texts, left_out = _parts(path, beside)
    further = [stem for stem in photos if stem not in texts and _key(stem) in texts]
    left_out += [photos.pop(stem).name for stem in further if _key(stem) in photos]
    what = "class label" if beside == LABEL else "caption"
    if missing := [photos[stem].name for stem in photos if stem not in texts]:
        raise ValueError(f"{path}: {missing[0]} has no {what} (.{beside}) beside it")
    if missing := [stem for stem in texts if stem not in photos]:
        endings = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise ValueError(f"{path}: {missing[0]}.{beside} has no image ({endings})")
    if left_out:
        print(f"  {path}: {len(left_out)} images are not read: {listed(left_out)}", flush=True)
    return [(photos[stem], texts[stem]) for stem in photos]


def _parts(path: Path, beside: str) -> tuple[dict[str, Member], dict[str, str], list[str]]:
    """Images and texts of a tar file by their names without endings; names of images left out."""
    photos: dict[str, Member] = {}
    texts: dict[str, str] = {}
    left_out: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for info, held in _files(archive):
                stem, ending = os.path.splitext(os.path.normpath(info.name))
                is_text = ending.lower() == f".{beside}"
                if not is_text and ending.lower() not in IMAGES:
                    continue
                if ending.lower() in OTHERS or _is_hidden(stem):
                    left_out += [] if is_text else [info.name]
                    continue
                file = _checked(path, info, held)
                if is_text and stem in texts:
                    raise ValueError(f"{path}: {info.name} is there twice")
                if is_text:
                    texts[stem] = _text(archive.extractfile(file), f"{path}: {info.name}", beside)
                elif stem in photos:
                    raise ValueError(f"{path}: {info.name} and {photos[stem].name} share a key")
                else:
                    photos[stem] = Member(path, info.name, file.offset_data, file.size)
            end = archive.offset
    except tarfile.TarError as error:
        raise ValueError(
            f"{path} is not a complete tar file without compression ({error})"
        ) from error
    _check_end(path, end)
    return photos, texts, left_out


def _files(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarInfo | None]]:
    """Every member but folders, and the one that holds its bytes.

    Those of a hard link are held by a member before it, if the file has it.
    """
    before: dict[str, tarfile.TarInfo] = {}
    for info in archive:
        held = before.get(os.path.normpath(info.linkname)) if info.islnk() else info
        if held is not None:
            before[os.path.normpath(info.name)] = held
        if not info.isdir():
            yield info, held


def _checked(path: Path, info: tarfile.TarInfo, held: tarfile.TarInfo | None) -> tarfile.TarInfo:
    """The member that holds the bytes of `info`, in one piece.

    Raises: ValueError naming `info` if there is none.
    """
    if held is None or held.issym():
        option = "-h" if held else "--hard-dereference"
        raise ValueError(
            f"{path}: {info.name} is a link to {(held or info).linkname}, which is not followed; "
            f"write the tar with {option}"
        )
    if not held.isfile():
        raise ValueError(f"{path}: {info.name} is no file; write the tar without it")
    if held.issparse():
        raise ValueError(f"{path}: {info.name} is stored with holes; write the tar without -S")
    return held


def _key(stem: str) -> str:
    """A member's name up to the first dot, which WebDataset's own readers call its key."""
    folder, name = os.path.split(stem)
    return os.path.join(folder, name.partition(".")[0])


def _is_hidden(stem: str) -> bool:
    return any(is_hidden(part) for part in stem.split("/") if part != os.pardir)


def _check_end(path: Path, end: int) -> None:
    """Check that a tar file has its end blocks at `end`, and nothing but zeros behind it.

    Raises: ValueError if it was cut between two members, or others were joined to it.
    """
    with path.open("rb") as stream:
        stream.seek(end)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError(
                f"{path} is not a complete tar file: it ends without end blocks, so members may be "
                "missing"
            )
        while chunk := stream.read(CHUNK):
            if chunk.count(0) != len(chunk):
                raise ValueError(f"{path} goes on after its end: tar files must not be joined")


def _text(stream: IO[bytes] | None, name: str, beside: str) -> str:
    data = b"" if stream is None else stream.read()
    if beside == LABEL and NUMBER.fullmatch(data.strip()):
        return str(int(data))
    try:
        if beside != LABEL:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    what = "a class number of at most 18 digits" if beside == LABEL else "text in UTF-8"
    raise ValueError(f"{name} holds {data[:20]!r}, not {what}")


def _photos(config: DatasetConfig, members: list[Member], part: slice) -> Images:
    return in_threads(partial(_photo, config, member) for member in members[part])


def _photo(config: DatasetConfig, member: Member) -> UInt8[np.ndarray, "s s c"]:
    with member.archive.open("rb") as stream:
        stream.seek(member.offset)
        data = BytesIO(stream.read(member.size))
    name = f"{member.archive}: {member.name}"
    return load_photo(data, config.image_size, config.channels, name)
