"""Which files of a folder are images that are read, and in which order.

One list of endings and one order serve the dataset, samples to score and references.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nextbasis.support.files import natural_order
from nextbasis.support.words import listed

SUFFIXES = frozenset(  # of files that are read, in capitals or not; content decides the format
    ".avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pgm .png .pnm .ppm .tga .tif .tiff .webp".split()
)
OTHERS = frozenset(  # of images that are not read
    ".apng .arw .cr2 .cr3 .cur .dds .dib .dng .eps .exr .fits .hdr .heic .heif .hif .icns .icb "
    ".ico .j2c .j2k .jpc .jpf .jpm .jpx .jxl .mng .nef .orf .pam .pbm .pcx .pfm .psb .psd .qoi "
    ".raf .ras .rw2 .sgi .svg .vda .vst .xbm .xpm".split()
)
STARTS = (  # of images' bytes
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"8BPS", b"v/1\1"),
    *(b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b"#?RADIANCE", b"#?RGBE"),
    *(b"P%d\n" % number for number in range(1, 8)),  # of Netpbm
)
BRANDS = (b"ftypavif", b"ftypavis", b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
HIDDEN = frozenset(  # what systems put beside images, as they do names that start with a dot
    ("#recycle", "$recycle.bin", "@eadir", "__macosx", "lost+found", "system volume information")
)

Identity = tuple[int, int]  # device and number of a file or folder, whatever its path


@dataclass(frozen=True)
class Listing:
    """The image files in a folder and below it."""

    folder: Path
    files: list[Path]  # in natural order
    left_out: list[Path]  # what looks like an image and is not read
    twice: list[tuple[Path, Path]]  # a folder, and what reaches it once more

    def remark(self) -> str:
        """What is not read or read twice, in a sentence; nothing if all is read once."""
        told = []
        if self.left_out:
            names = listed(path.relative_to(self.folder) for path in self.left_out)
            told += [
                f"files that look like images and are not read: {len(self.left_out)} ({names})"
            ]
        if self.twice:
            names = listed(
                f"{again.relative_to(self.folder)} is {first.relative_to(self.folder)}"
                for first, again in self.twice
            )
            told += [f"folders that are read more than once, by links: {len(self.twice)} ({names})"]
        return "; ".join(told)


def list_images(folder: Path) -> Listing:
    """All image files in a folder and below it, in natural order; links are followed.

    Hidden files and folders are left out. A link to a folder above it leads no further.

    Raises: FileNotFoundError naming a link that leads nowhere; OSError naming a folder that cannot
    be read.
    """
    files: list[Path] = []
    left_out: list[Path] = []
    folders: dict[Identity, list[Path]] = {}
    for path, is_read in _walk(folder, frozenset(), folders):
        (files if is_read else left_out).append(path)
    return Listing(
        folder,
        sorted(files, key=natural_order),
        sorted(left_out, key=natural_order),
        _twice(folders.values()),
    )


def _twice(folders: Iterable[list[Path]]) -> list[tuple[Path, Path]]:
    """Of folders with several paths, the first path and each further one; none inside another."""
    several = [sorted(paths, key=natural_order) for paths in folders if len(paths) > 1]
    inner = {path for paths in several for path in paths}
    pairs = [(first, again) for first, *further in several for again in further]
    return sorted(pair for pair in pairs if not inner.issuperset(path.parent for path in pair))


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


def _walk(
    folder: Path, above: frozenset[Identity], folders: dict[Identity, list[Path]]
) -> Iterator[tuple[Path, bool]]:
    """Every file that looks like an image, and whether it is read; `folders` takes their paths."""
    identity = identity_of(folder)
    above |= {identity}
    folders.setdefault(identity, []).append(folder)
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        path = Path(entry.path)
        if is_hidden(entry.name):
            yield from ((each, False) for each in _hidden_images(path))
        elif _is(entry.is_dir):
            if identity_of(path) not in above:
                yield from _walk(path, above, folders)
        elif _is(entry.is_file):
            if is_image(entry.name):
                yield path, True
            elif _looks_like_image(path):
                yield path, False
        elif not path.exists():
            raise FileNotFoundError(f"{path} is a link that leads nowhere")
        elif path.suffix.lower() in SUFFIXES | OTHERS:  # a pipe, say
            yield path, False


def identity_of(path: Path) -> Identity:
    """What is the same for all paths of a file or a folder, those by links included."""
    status = path.stat()
    return status.st_dev, status.st_ino


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
    is_bmp = start[:2] == b"BM" and start[6:10] == bytes(4)
    return is_webp or is_bmp or start.startswith(STARTS) or start[4:] in BRANDS
