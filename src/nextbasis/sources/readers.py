"""Where labelled images come from: sources tried in the order of the config, checksums verified."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
from jaxtyping import UInt8

from nextbasis.config import DatasetConfig, SourceConfig
from nextbasis.sources import debian, emoji, idx, image_folder, journeydb, parquet, webdataset
from nextbasis.sources.archives import FOLDER_VARIABLE
from nextbasis.sources.images import pad
from nextbasis.sources.splits import Split, Splits, check_every_class, check_labels
from nextbasis.support.words import listed

IDX_FILES = {"train": "train", "test": "t10k"}  # split -> how MNIST's files name it
PATTERNS = ("webdataset", "parquet", "journeydb")  # kinds whose location is two of them
FETCHED = ("debian", "torchvision", "npm")  # kinds that download
TIMEOUT = 15.0  # seconds without an answer after which torchvision's download is given up


def load(config: DatasetConfig) -> tuple[Splits, str]:
    """The splits of the first source that works, and that source's name.

    Raises: FileNotFoundError listing every source tried and why it failed.
    """
    failed: list[tuple[str, str, Exception]] = []
    for source in config.sources:
        name = _place(source)
        print(f"dataset {config.name}: trying {name}", flush=True)
        try:
            splits = READERS[source.kind](config, source.location)
            check_every_class(config, splits["train"].labels)
        except (OSError, ValueError) as error:
            failed.append((source.kind, name, error))
            print(f"  not usable: {error}", flush=True)
        else:
            print(f"  using {name}", flush=True)
            return splits, name
    tried = "\n  ".join(f"{name}: {error}" for _, name, error in failed)
    advice = _advice([(kind, error) for kind, _, error in failed])
    raise FileNotFoundError(f"dataset {config.name}: no source works. Tried:\n  {tried}{advice}")


def _place(source: SourceConfig) -> str:
    """Kind and place of a source, as its reader takes FOLDER_VARIABLE."""
    place, folder = source.location, os.environ.get(FOLDER_VARIABLE)
    if folder and source.kind == "image_folder":
        place = folder
    elif folder and source.kind in PATTERNS:
        place += f" below {folder}"
    return f"{source.kind} {place}".strip()


def _advice(failed: list[tuple[str, Exception]]) -> str:
    """A line on what can be done where files are missing; none where those there are damaged."""
    own = [error for kind, error in failed if kind not in FETCHED]
    is_missing = bool(own) and all(isinstance(error, FileNotFoundError) for error in own)
    fetched = [kind for kind, _ in failed if kind in FETCHED]
    folder = os.environ.get(FOLDER_VARIABLE)
    ways = []
    if folder and is_missing:
        ways.append(f"put its files into {folder}, which {FOLDER_VARIABLE} names")
    elif not folder and (is_missing or "npm" in fetched):
        ways.append(f"set {FOLDER_VARIABLE} to a folder that holds its files")
    if fetched:
        ways.append("connect to the network")
    return f"\nTo mend this, {' or '.join(ways)}." if ways else ""


def _local(config: DatasetConfig, location: str) -> Splits:
    folders = [os.environ.get(FOLDER_VARIABLE), location]
    return _read_idx(config, [Path(folder) for folder in folders if folder])


def _debian(config: DatasetConfig, location: str) -> Splits:
    folder = _download_folder(config)
    debian.fetch(location, "*-ubyte.gz", folder)
    return _read_idx(config, [folder])


def _torchvision(config: DatasetConfig, location: str) -> Splits:
    from torchvision import datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        getattr(datasets, location)(_download_folder(config), download=True)
    except (RuntimeError, URLError) as error:
        raise ValueError(f"torchvision cannot download {location} ({error})") from error
    finally:
        socket.setdefaulttimeout(before)
    return _read_idx(config, [_download_folder(config) / location / "raw"])


def _download_folder(config: DatasetConfig) -> Path:
    return Path("data") / config.name


def _read_idx(config: DatasetConfig, folders: list[Path]) -> Splits:
    """The four idx files, gzipped or not, from the first folder that has all of them."""
    missing = []
    for folder in folders:
        paths = {}
        for split, prefix in IDX_FILES.items():
            for what, axes in (("images", 3), ("labels", 1)):
                stem = f"{prefix}-{what}-idx{axes}-ubyte"
                found = [path for path in (folder / f"{stem}.gz", folder / stem) if path.is_file()]
                if found:
                    paths[split, what] = found[0]
                else:
                    missing.append(str(folder / f"{stem}.gz"))
        if len(paths) == 2 * len(IDX_FILES):
            arrays = {key: idx.read(path, config.checksums) for key, path in paths.items()}
            return {
                split: _from_arrays(config, arrays[split, "images"], arrays[split, "labels"])
                for split in IDX_FILES
            }
    raise FileNotFoundError(f"no file {listed(missing)}")


def _from_arrays(
    config: DatasetConfig, images: UInt8[np.ndarray, "n h w *c"], labels: np.ndarray
) -> Split:
    """Check counts and labels; pad the images to the configured size.

    Raises: ValueError naming what does not fit.
    """
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    labels = labels.astype(np.int64)
    check_labels(config, labels, "the files")
    images = images[..., None] if images.ndim == 3 else images
    if images.shape[-1] != config.channels:
        raise ValueError(
            f"dataset.channels is {config.channels}, but images have shape {images.shape[1:]}"
        )
    if max(images.shape[1:3]) > config.image_size:
        raise ValueError(
            f"dataset.image_size is {config.image_size}, but images have shape {images.shape[1:]}"
        )
    return Split(
        labels=labels,
        images=lambda part: (pad(image, config.image_size) for image in images[part]),
    )


def _sklearn(config: DatasetConfig, location: str) -> Splits:
    """scikit-learn's bundled digits; the last images of each class are the test split."""
    from sklearn import datasets

    if location != "digits":
        raise ValueError(f"dataset.sources.location must be digits for sklearn, got '{location}'")
    if config.num_test % config.num_classes:
        raise ValueError(
            f"dataset.num_test must be a multiple of num_classes {config.num_classes}, "
            f"got {config.num_test}"
        )
    bunch = datasets.load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # its pixels are 0 to 16
    labels = bunch.target.astype(np.int64)
    for name, array in (("images", images), ("labels", labels)):
        found = hashlib.sha256(array.tobytes()).hexdigest()
        idx.check(f"digits {name}", found, config.checksums.get(name))
    keep = config.num_test // config.num_classes
    test = np.concatenate([np.flatnonzero(labels == c)[-keep:] for c in range(config.num_classes)])
    is_test = np.isin(np.arange(len(labels)), test)
    return {
        "train": _from_arrays(config, images[~is_test], labels[~is_test]),
        "test": _from_arrays(config, images[is_test], labels[is_test]),
    }


READERS: dict[str, Callable[[DatasetConfig, str], Splits]] = {
    "local": _local,
    "debian": _debian,
    "torchvision": _torchvision,
    "sklearn": _sklearn,
    "image_folder": image_folder.read,
    "webdataset": webdataset.read,
    "parquet": parquet.read,
    "npm": lambda config, location: emoji.read(config, location, _download_folder(config)),
    "journeydb": journeydb.read,
}
