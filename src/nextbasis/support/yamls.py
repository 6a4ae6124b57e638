"""YAML files of keys and values, read strictly: what is wrong with one is said with its name."""

from collections.abc import Collection, Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from nextbasis.support.words import listed, nearest


class Strict(yaml.CSafeLoader):
    """YAML's plain values; of a key that stands twice in a mapping, it says so.

    YAML itself would take the last one, and nobody would read the first. A merge key (<<) may be
    overruled.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping.

        Raises: yaml.constructor.ConstructorError naming a key that stands twice.
        """
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The values of a YAML file.

    Raises: FileNotFoundError; ValueError naming the file and the place of what is no YAML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; run from the repository's root")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise ValueError(f"{path} is no YAML: {reason}") from error


def parse_yaml(text: str) -> Any:
    """The values of a text.

    Raises: yaml.YAMLError if it is no YAML.
    """
    return yaml.load(text, Loader=Strict)


def read_keys(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises: as read_yaml, and ValueError naming the file if it holds something else.
    """
    values = read_yaml(path)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"{path} must hold keys and values, such as 'name: value', and no more")
    return values


def check_keys(where: object, given: Iterable[str], known: Collection[str]) -> None:
    """Nothing if somebody reads every key; one that nobody reads would change nothing, in silence.

    Raises: ValueError naming the file, the keys that are not known and those that are.
    """
    if unknown := [key for key in given if key not in known]:
        raise ValueError(
            f"{where}: nothing reads {listed(unknown)}; the keys are {nearest(known, unknown[0])}"
        )
