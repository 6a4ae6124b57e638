"""Photographs with captions: JourneyDB's lines of JSON, and MS-COCO's annotations.

JourneyDB (Sun et al. 2023): a file .jsonl, one image a line, with `img_path` below the folder
`imgs` beside it, Midjourney's `prompt` and mostly a caption by GPT-3.5, `Task2.Caption`. MS-COCO
(Lin et al. 2014): captions_<split>.json, in a folder `annotations` beside the folder <split> of
images; five people have described each.
"""

import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from nextbasis.config import DatasetConfig
from nextbasis.sources.archives import archives
from nextbasis.sources.images import load_photo
from nextbasis.sources.splits import Images, Splits, captioned, in_threads
from nextbasis.support.files import read_json, read_json_lines
from nextbasis.support.words import listed

LINES, TABLE = ".jsonl", ".json"  # endings of JourneyDB's files and of MS-COCO's
FOLDER = "imgs"
PREFIX = "captions_"

Samples = tuple[list[str], list[str]]  # paths of images and their captions


def read(config: DatasetConfig, location: str) -> Splits:
    """The splits; `location` is two patterns of files, see `archives`. Memory holds no image.

    Only the first dataset.num_test images test, if that is not 0.

    Raises: FileNotFoundError or ValueError naming the file, and how many images are missing.
    """
    texts: dict[str, list[str]] = {"train": [], "test": []}
    paths: dict[str, list[str]] = {"train": [], "test": []}
    for split, files in archives(location).items():
        for file in files:
            found, captions = _samples(file)
            _check_present(file, found)
            paths[split] += found
            texts[split] += captions
    if config.num_test:
        del paths["test"][config.num_test :], texts["test"][config.num_test :]
    return captioned(texts, {split: partial(_photos, config, paths[split]) for split in paths})


def _photos(config: DatasetConfig, paths: list[str], part: slice) -> Images:
    load = partial(load_photo, size=config.image_size, channels=config.channels)
    return in_threads(partial(load, Path(path)) for path in paths[part])


def _check_present(file: Path, paths: list[str]) -> None:
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(paths)} images of {file} are missing, first {missing[0]}"
        )


def _samples(file: Path) -> Samples:
    if file.suffix == LINES:
        return _journeydb(file)
    if file.suffix == TABLE and file.name.startswith(PREFIX):
        return _coco(file)
    raise ValueError(
        f"{file} is neither JourneyDB's (<name>.jsonl) nor MS-COCO's (captions_*.json)"
    )


def _journeydb(file: Path) -> Samples:
    paths, captions = [], []
    for number, entry in read_json_lines(file):
        try:
            paths.append(os.path.normpath(file.parent / FOLDER / entry["img_path"]))
            captions.append(_caption(entry))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file}: line {number} has no img_path with a prompt or Task2.Caption ({error!r})"
            ) from error
    return paths, captions


def _caption(entry: dict[str, Any]) -> str:
    """The caption; of images that GPT-3.5 was not asked about, the prompt they were made from."""
    return _text((entry.get("Task2") or {}).get("Caption") or entry["prompt"])


def _text(caption: Any) -> str:
    if not isinstance(caption, str):
        raise TypeError(f"the caption {caption!r} is no text")
    return caption


def _coco(file: Path) -> Samples:
    """Each image with the first of its captions, by number; images by number too."""
    folder = file.parent / file.stem.removeprefix(PREFIX)
    if not folder.is_dir():
        folder = file.parent.parent / folder.name
    table = read_json(file)
    try:
        names = {image["id"]: image["file_name"] for image in table["images"]}
        notes = sorted(table["annotations"], key=lambda note: (note["image_id"], note["id"]))
        first: dict[int, str] = {}
        for note in notes:
            first.setdefault(note["image_id"], note["caption"])
        paths = [str(folder / names[image]) for image in first]
        captions = [_text(caption) for caption in first.values()]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is no file of MS-COCO's captions ({error!r})") from error
    if len(names) < len(table["images"]):
        counts = Counter(image["id"] for image in table["images"])
        twice = [image for image, count in counts.items() if count > 1]
        raise ValueError(f"{file} holds several images of the same id: {listed(twice)}")
    if without := [name for image, name in names.items() if image not in first]:
        print(f"  {file}: {len(without)} images have no caption: {listed(without)}", flush=True)
    return paths, captions
