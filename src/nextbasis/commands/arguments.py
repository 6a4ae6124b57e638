"""Arguments that several commands have."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nextbasis.pipeline.catalog import load_catalog, section
from nextbasis.support.yamls import parse_yaml, read_keys

GRID = re.compile(r"(\d+)x(\d+)")


def add_scale(command: argparse.ArgumentParser, default: str = "cpu") -> None:
    """Add `--scale`."""
    command.add_argument("--scale", default=default, help=f"a folder of config/scales ({default})")


def add_protocol(command: argparse.ArgumentParser) -> None:
    """Add what says how images from anywhere are measured: scale, protocol, weights, labels."""
    command.add_argument(
        "--scale",
        default="imagenet256",
        help="whose evaluation (config/scales) and tables (imagenet256)",
    )
    command.add_argument(
        "--protocol", default="", help="instead of the evaluation's: adm, mar, rar, unlabelled"
    )
    command.add_argument("--weights", default="", metavar="FILE", help="of the extractor")
    command.add_argument(
        "--labels",
        metavar="FILE",
        type=read_path,
        help=".npy, one class per image; of a folder in natural order, 2.png before 10.png",
    )
    command.add_argument(
        "--classes", type=int, default=0, help="number of classes (those of the scale's data)"
    )


def num_classes(given: argparse.Namespace) -> int:
    """`--classes`, or how many classes the data of `--scale` has; captions are of one class.

    Raises: ValueError for an unknown scale or a number below 0.
    """
    if given.classes < 0:
        raise ValueError(f"--classes must be at least 1, got {given.classes}")
    dataset = section(load_catalog(), given.scale)["datasets"][0]
    return (
        given.classes or read_keys(Path("config/dataset") / f"{dataset}.yaml")["num_classes"] or 1
    )


def read_grid(text: str) -> tuple[int, int]:
    """Rows and columns of `--grid`.

    Raises: ValueError if it is not two numbers with an x between them.
    """
    if (match := GRID.fullmatch(text)) is None:
        raise ValueError(f"--grid must be ROWSxCOLUMNS, such as 16x16; got '{text}'")
    return int(match[1]), int(match[2])


def read_path(text: str) -> Path:
    """A file or folder that is named; an empty name would be the folder that one works in.

    Raises: argparse.ArgumentTypeError if the name is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("an empty name; name a file or a folder")
    return Path(text)


def check_text(option: str, text: str) -> None:
    """Nothing if files can hold a text: bytes that are no UTF-8 come as halves of surrogates.

    Raises: ValueError naming the option.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{option} must be UTF-8, got {ascii(text)}") from error


def read_values(words: Sequence[str], example: str, *sections: str) -> dict[str, Any]:
    """`key=value` by key, as YAML 1.2 reads the value; `example` shows a user such a word.

    Keys may have one of the `sections` and a point in front, as on the command line of a stage.

    Raises: ValueError naming the word that is none, or the key that is given twice.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise ValueError(f"'{word}' is no KEY=VALUE, such as {example}")
        for part in sections:
            name = name.removeprefix(f"{part}.")
        if name in values:
            raise ValueError(f"{name} is given twice, as {values[name]} and as {value}")
        try:
            values[name] = parse_yaml(value)
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"'{word}': the value is no YAML") from error
    return values
