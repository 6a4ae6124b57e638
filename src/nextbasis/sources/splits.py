"""What a source of images gives: labels, and images that can be read a part at a time."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from nextbasis.config import DatasetConfig
from nextbasis.data.image_folders import identity_of
from nextbasis.support.words import listed

AHEAD = 256  # photographs decoded ahead of the one that is asked for

Images = Iterator[UInt8[np.ndarray, "s s c"]]


@dataclass(kw_only=True)
class Split:
    """One part of a dataset; `images(slice(10, 20))` yields uint8 arrays (size, size, channels)."""

    labels: Int64[np.ndarray, " n"]
    images: Callable[[slice], Images]
    captions: list[str] | None = None  # what each label means, in both splits; None: not said


Splits = dict[str, Split]  # "train" and "test"


def check_labels(config: DatasetConfig, labels: Int64[np.ndarray, " n"], where: str) -> None:
    """Check that there are labels, and that the config has classes for them.

    Raises: ValueError naming the key and `where` the labels are from.
    """
    if not len(labels) or labels.min() < 0 or labels.max() >= config.num_classes:
        reach = f"reach from {labels.min()} to {labels.max()}" if len(labels) else "are missing"
        raise ValueError(
            f"dataset.num_classes is {config.num_classes}, but labels {reach} in {len(labels)} "
            f"images of {where}"
        )


def check_every_class(config: DatasetConfig, labels: Int64[np.ndarray, " n"]) -> None:
    """Check that the training images are of every class, where there are classes.

    Raises: ValueError naming the classes without an image.
    """
    if absent := np.setdiff1d(np.arange(config.num_classes), labels).tolist():
        raise ValueError(
            f"dataset.num_classes is {config.num_classes}, but no training image is of class "
            f"{listed(absent)}"
        )


def check_same_classes(
    train: Collection[str], test: Collection[str], in_train: str, in_test: str
) -> None:
    """Check that both splits name the same classes, so that a label means one thing.

    Raises: ValueError listing the difference; `in_train` and `in_test` say where the names are.
    """
    alike = _alike({*train, *test})
    parts = {
        f"only {where} has": [
            ascii(name) if name in alike else name for name in these if name not in those
        ]
        for where, these, those in ((in_train, train, test), (in_test, test, train))
    }
    if told := [f"{what} {listed(names)}" for what, names in parts.items() if names]:
        raise ValueError(f"the splits have different classes: {listed(told, '; ')}")


def check_apart(train: Iterable[Path], test: Iterable[Path]) -> None:
    """Check that no file or folder is of both splits, be it by a link.

    Raises: ValueError naming it.
    """
    known = {identity_of(path): path for path in train}
    for path in test:
        if same := known.get(identity_of(path)):
            told = f"{path} is named for both" if path == same else f"{path} is the same as {same}"
            raise ValueError(f"test images must not be training images, but {told}")


def captioned(
    texts: Mapping[str, list[str]], images: Mapping[str, Callable[[slice], Images]]
) -> Splits:
    """Splits whose labels number the different captions; runs of blanks in them count as one.

    A label is the position of the caption in order of first appearance, in the training split
    first. `texts` holds one caption an image. Labels that one may not expect are printed: of images
    without words, and of captions that look alike and are different characters.

    Raises: ValueError naming the split if it holds no image.
    """
    numbers: dict[str, int] = {}
    labels = {}
    for split in ("train", "test"):
        if not texts[split]:
            raise ValueError(f"the split {split} holds no image with a caption")
        each = [" ".join(text.split()) for text in texts[split]]
        if empty := each.count(""):
            print(
                f"  {empty} captions of {split} images are empty, a class of their own", flush=True
            )
        found = [numbers.setdefault(text, len(numbers)) for text in each]
        labels[split] = np.asarray(found, np.int64)
    captions = list(numbers)
    if alike := _alike(numbers.keys()):
        told = listed(map(ascii, alike))
        print(f"  captions look alike and are classes of their own: {told}", flush=True)
    return {
        split: Split(labels=labels[split], images=images[split], captions=captions)
        for split in labels
    }


def _alike(texts: Collection[str]) -> list[str]:
    """Those of different texts that no reader can tell apart, side by side."""
    odd: dict[str, list[str]] = {}
    for text in texts:
        if (look := _looks(text)) != text:
            odd.setdefault(look, []).append(text)
    groups = [[look, *group] if look in texts else group for look, group in odd.items()]
    return [text for group in groups if len(group) > 1 for text in group]


def _looks(text: str) -> str:
    """A text with its letters composed and single blanks, without what cannot be seen."""
    text = " ".join(text.split())
    if text.isascii() and text.isprintable():
        return text
    composed = unicodedata.normalize("NFC", text)
    return "".join(sign for sign in composed if sign.isprintable())


def in_threads(jobs: Iterable[Callable[[], UInt8[np.ndarray, "s s c"]]]) -> Images:
    """What the jobs return, in their order; some are done ahead."""
    waiting = iter(jobs)
    with ThreadPoolExecutor() as pool:
        while part := list(islice(waiting, AHEAD)):
            yield from pool.map(lambda job: job(), part)
