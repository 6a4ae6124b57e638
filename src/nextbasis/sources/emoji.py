"""Emoji drawn by Google with their names, from the npm package emoji-datasource-google."""

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from nextbasis.config import DatasetConfig
from nextbasis.sources import idx
from nextbasis.sources.archives import FOLDER_VARIABLE
from nextbasis.sources.images import fit
from nextbasis.sources.programs import call
from nextbasis.sources.splits import Images, Splits, captioned

LOCATION = re.compile(r"emoji-datasource-google@\d[\w.-]*")
NAMES, PICTURES = "emoji.json", "img/google/64"  # in the package
SIDE = 64  # pixels
TONES = {  # code points that change a person's skin, as Unicode names them
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
TIMEOUT = 1800  # seconds that the download of 74 MB may take

Files = Callable[[str], bytes]  # the bytes of a file of the package


def read(config: DatasetConfig, location: str, folder: Path) -> Splits:
    """The splits; `location` is <package>@<version>, `folder` is where the package is kept.

    Test images are those of the dataset.num_test captions whose SHA-256 is smallest, so that no
    test caption is a training caption.

    Raises: FileNotFoundError or ValueError naming the file and what would be right.
    """
    if not LOCATION.fullmatch(location):
        raise ValueError(
            "dataset.sources.location must be emoji-datasource-google@<version> for npm, "
            f"got '{location}'"
        )
    files = _open(location, folder)
    names, captions = zip(*_emoji(files(NAMES)), strict=True)
    pictures = np.stack([_over_white(files(f"{PICTURES}/{name}"), name) for name in names])
    for what, data in (("images", pictures.tobytes()), ("captions", "\n".join(captions).encode())):
        found = hashlib.sha256(data).hexdigest()
        idx.check(f"{location} {what}", found, config.checksums.get(what))
    held = _held_out(set(captions), config.num_test)
    is_test = np.asarray([caption in held for caption in captions])
    parts = {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}

    def images(rows: np.ndarray) -> Callable[[slice], Images]:
        size, channels = config.image_size, config.channels
        return lambda part: (
            fit(Image.fromarray(pictures[row]), size, channels) for row in rows[part]
        )

    return captioned(
        {split: [captions[row] for row in rows] for split, rows in parts.items()},
        {split: images(rows) for split, rows in parts.items()},
    )


def _held_out(captions: set[str], count: int) -> set[str]:
    if not 0 < count < len(captions):
        raise ValueError(
            f"dataset.num_test must lie in [1, {len(captions) - 1}], the number of captions that "
            f"are held out; got {count}"
        )
    return set(sorted(captions, key=lambda text: hashlib.sha256(text.encode()).digest())[:count])


def _open(location: str, folder: Path) -> Files:
    """The package: unpacked or not in the user's folder, else as npm packs it in `folder`."""
    archive = f"{location.replace('@', '-')}.tgz"
    for place in (os.environ.get(FOLDER_VARIABLE), folder):
        if place and (Path(place) / NAMES).is_file():
            return _unpacked(Path(place))
        if place and (Path(place) / archive).is_file():
            return _packed(Path(place) / archive)
    _fetch(location, folder / archive)
    return _packed(folder / archive)


def _fetch(location: str, path: Path) -> None:
    if shutil.which("npm") is None:
        raise ValueError(f"npm is not installed; it would download {location}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=path.parent) as name:
        command = ["npm", "--loglevel=error", "--fetch-retries=0", "pack", location]
        call(command, Path(name), TIMEOUT, telling=0)
        made = Path(name) / path.name
        if not made.is_file():
            raise ValueError(f"'npm pack {location}' made no file {path.name}")
        made.replace(path)


def _unpacked(folder: Path) -> Files:
    def content(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise FileNotFoundError(f"no file {folder / name}, which {NAMES} needs") from error

    return content


def _packed(path: Path) -> Files:
    """The package's few small files; its other pictures, which are most of it, are passed over."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for info in archive:
                name = info.name.removeprefix("package/")
                stream = archive.extractfile(info)
                if stream is not None and (name == NAMES or name.startswith(f"{PICTURES}/")):
                    found[name] = stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is not a complete .tgz file ({error}); delete it") from error

    def content(name: str) -> bytes:
        if name not in found:
            raise FileNotFoundError(f"{path} holds no file {name}")
        return found[name]

    return content


def _emoji(data: bytes) -> list[tuple[str, str]]:
    """File name and caption of every picture: the name, and how it departs from yellow skin."""
    try:
        found = [pair for entry in json.loads(data) for pair in _variants(entry)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{NAMES} is not a list of emoji ({error!r})") from error
    if not found:
        raise ValueError(f"{NAMES} lists no emoji that Google has drawn")
    return found


def _variants(entry: dict[str, Any]) -> list[tuple[str, str]]:
    name = entry["name"].lower()
    drawn = [(name, entry)]
    for points, variant in entry.get("skin_variations", {}).items():
        tones = " and ".join(TONES[point] for point in points.split("-"))
        drawn.append((f"{name}: {tones} skin tone", variant))
    return [(each["image"], caption) for caption, each in drawn if each["has_img_google"]]


def _over_white(data: bytes, name: str) -> UInt8[np.ndarray, "64 64 3"]:
    try:
        with Image.open(BytesIO(data)) as image:
            pixels = np.asarray(image.convert("RGBA"), np.uint32)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{PICTURES}/{name} is not a readable image ({error})") from error
    if pixels.shape[:2] != (SIDE, SIDE):
        raise ValueError(f"{PICTURES}/{name} is {pixels.shape[:2]}, expected {SIDE}x{SIDE} pixels")
    colours, opacity = pixels[..., :3], pixels[..., 3:]
    return ((colours * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
