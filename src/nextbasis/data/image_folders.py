"""Which files of a folder are images that are read, and in which order.

One list of endings and one order serve the dataset, samples to score and references.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nextbasis.support.files import natural_order
from nextbasis.support.words import listed

SUFFIXES = frozenset(  # of files that are read, in capitals or not; content decides the format
    ".avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pgm .png .pnm .ppm .tga .tif .tiff .webp".split()
)
OTHERS = frozenset(".cr2 .dng .eps .exr .heic .heif .jxl .nef .psd .svg".split())  # not read
STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"8BPS")  # of images' bytes
BRANDS = (b"ftypavif", b"ftypheic", b"ftypmif1")
HIDDEN = frozenset(  # what systems put beside images, as they do names that start with a dot
    ("#recycle", "$recycle.bin", "@eadir", "__macosx", "lost+found", "system volume information")
)


@dataclass(frozen=True)
class Listing:
    """The image files in a folder and below it."""

    folder: Path
    files: list[Path]  # in natural order
    left_out: list[Path]  # what looks like an image and is not read

    def remark(self) -> str:
        """What is not read, in a sentence; nothing if all is."""
        if not self.left_out:
            return ""
        names = listed(path.relative_to(self.folder) for path in self.left_out)
        return f"files that look like images and are not read: {len(self.left_out)} ({names})"


def list_images(folder: Path) -> Listing:
    """All image files in a folder and below it, in natural order; links are followed.

    Hidden files and folders are left out. A link to a folder above it leads no further.

    Raises: FileNotFoundError naming a link that leads nowhere; OSError naming a folder that cannot
    be read.
    """
    files: list[Path] = []
    left_out: list[Path] = []
    for path, is_read in _walk(folder, frozenset()):
        (files if is_read else left_out).append(path)
    return Listing(folder, sorted(files, key=natural_order), sorted(left_out, key=natural_order))


def list_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in natural order, without hidden ones.

    Raises: ValueError naming the one whose name is not UTF-8.
    """
    names = [path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)]
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{folder}: the folder name {name!a} is not UTF-8") from error
    return sorted(names, key=natural_order)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is a system's own or an editor's."""
    return name.startswith(".") or name.lower() in HIDDEN


def is_image(name: str) -> bool:
    """Whether a file of this name is read."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[tuple[Path, bool]]:
    """Every file that looks like an image, and whether it is read."""
    status = folder.stat()
    above |= {(status.st_dev, status.st_ino)}
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        path = Path(entry.path)
        if is_hidden(entry.name):
            yield from ((each, False) for each in _hidden_images(path))
        elif _is(entry.is_dir):
            status = path.stat()
            if (status.st_dev, status.st_ino) not in above:
                yield from _walk(path, above)
        elif _is(entry.is_file):
            if is_image(entry.name):
                yield path, True
            elif _looks_like_image(path):
                yield path, False
        elif not path.exists():
            raise FileNotFoundError(f"{path} is a link that leads nowhere")


def _is(question: Callable[[], bool]) -> bool:
    """The answer of a folder's entry; none for a link that leads to itself."""
    try:
        return question()
    except OSError:
        return False


def _hidden_images(path: Path) -> Iterator[Path]:
    """What has an image's name in a hidden folder, or the hidden file; no link is followed."""
    if is_image(path.name) and path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names if is_image(name))


def _looks_like_image(path: Path) -> bool:
    """Whether a file that its name does not tell to be read is an image all the same."""
    if path.suffix.lower() in OTHERS:
        return True
    with path.open("rb") as stream:
        start = stream.read(12)
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return is_webp or start.startswith(STARTS) or start[4:] in BRANDS
