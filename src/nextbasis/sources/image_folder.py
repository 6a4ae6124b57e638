"""Photographs in ImageNet's layout: {train,val}/<class>/<image> below one folder."""

import os
from functools import partial
from pathlib import Path

import numpy as np

from nextbasis.config import DatasetConfig
from nextbasis.data.image_folders import list_folders, list_images
from nextbasis.sources.archives import FOLDER_VARIABLE
from nextbasis.sources.images import load_photo
from nextbasis.sources.splits import Split, Splits, check_apart, check_same_classes, in_threads
from nextbasis.support.words import listed


def read(config: DatasetConfig, location: str) -> Splits:
    """The splits; `location` is the folder, unless FOLDER_VARIABLE names another.

    Raises: FileNotFoundError or ValueError naming the folder and what would be right.
    """
    folder = Path(os.environ.get(FOLDER_VARIABLE) or location)
    found = {"train": _classes(folder / "train"), "test": _classes(folder / "val")}
    check_same_classes(
        found["train"].keys(), found["test"].keys(), f"{folder / 'train'}", f"{folder / 'val'}"
    )
    classes = list(found["train"])
    check_apart(*([folder / part / name for name in classes] for part in ("train", "val")))
    if len(classes) != config.num_classes:
        raise ValueError(
            f"{folder / 'train'} holds {len(classes)} class folders, "
            f"expected dataset.num_classes = {config.num_classes}"
        )
    if classes != (plain := sorted(classes)):
        first = next(name for name, other in zip(classes, plain, strict=True) if name != other)
        print(
            f"  classes are numbered in natural order of their folders: {first} is number "
            f"{classes.index(first)}, and {plain.index(first)} among plain strings",
            flush=True,
        )
    return {split: _photos(config, files) for split, files in found.items()}


def _classes(root: Path) -> dict[str, list[Path]]:
    """The images of every class folder, in natural order of both."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"no folder {root}; expected {root}/<class>/<image>, one folder a class"
        )
    classes: dict[str, list[Path]] = {name: [] for name in list_folders(root)}
    listing = list_images(root)
    if not classes:
        raise ValueError(
            f"{root} holds no class folder but {len(listing.files)} images; "
            f"expected {root}/<class>/<image>, one folder a class"
            + (f"; {remark}" if (remark := listing.remark()) else "")
        )
    for path in listing.files:
        inside = path.relative_to(root).parts
        (classes[inside[0]] if len(inside) > 1 else listing.left_out).append(path)
    if remark := listing.remark():
        print(f"  {root}: {remark}", flush=True)
    if empty := [name for name, files in classes.items() if not files]:
        raise ValueError(f"class folders of {root} hold no image: {listed(empty)}")
    return classes


def _photos(config: DatasetConfig, classes: dict[str, list[Path]]) -> Split:
    paths = [path for files in classes.values() for path in files]
    counts = [len(files) for files in classes.values()]
    load = partial(load_photo, size=config.image_size, channels=config.channels)
    return Split(
        labels=np.repeat(np.arange(len(counts), dtype=np.int64), counts),
        images=lambda part: in_threads(partial(load, path) for path in paths[part]),
        captions=config.captions or list(classes),
    )
