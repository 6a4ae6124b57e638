"""YAML read strictly, by the core rules of YAML 1.2: what is wrong is said with its name.

PyYAML knows the rules of 1.1 alone, where 010 is 8, 1:30 is 90, yes is true and 1e-4 is a text.
"""

import re
from collections.abc import Collection, Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from nextbasis.support.words import listed, nearest

TAG = "tag:yaml.org,2002:"
FIRST = "-+.0123456789"  # what a number begins with
PLAIN = (  # what plain text is: its tag, how it looks, what it begins with (YAML 1.2.2, 10.3.2)
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", FIRST),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", FIRST),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
TWO_WAYS = re.compile(  # what is one value by the rules of 1.1 and another by those of 1.2
    r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|0o[0-7]+"
    r"|[-+]?(0[0-9]+|0b[01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|(?=[^_]*_)(0x[0-9a-fA-F_]+|[0-9][0-9_]*(\.[0-9_]*([eE][-+][0-9]+)?)?))"
)
BASES = {"0o": 8, "0x": 16}  # of whole numbers; others have base 10


class Core(yaml.CSafeLoader):
    """YAML 1.2's plain values; of a key that stands twice in a mapping, it says so.

    YAML itself would take the last one, and nobody would read the first. A merge key (<<) may be
    overruled.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # none of YAML 1.1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping.

        Raises: yaml.constructor.ConstructorError naming a key that stands twice.
        """
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{TAG}merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_whole(self, node: Any) -> int:
        """A whole number."""
        text = self.construct_scalar(node)
        return int(text, BASES.get(text[:2], 10))


class Strict(Core):
    """The same for files, which other programs read too: what they may read otherwise is refused.

    Hydra follows the rules of YAML 1.1, DVC those of 1.2.
    """

    def construct_scalar(self, node: Any) -> Any:
        """The text of a value.

        Raises: yaml.constructor.ConstructorError naming what is read in two ways.
        """
        if not node.style and TWO_WAYS.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"'{node.value}' is one thing in YAML 1.1 and another in 1.2; write a plain "
                "number, true or false, or a text in quotes",
                node.start_mark,
            )
        return super().construct_scalar(node)


class Quoting(yaml.SafeDumper):
    """Writes texts so that readers of either version read texts."""


for _tag, _look, _first in PLAIN:
    Core.add_implicit_resolver(f"{TAG}{_tag}", re.compile(f"(?:{_look})$"), _first)
    Quoting.add_implicit_resolver(f"{TAG}{_tag}", re.compile(f"(?:{_look})$"), _first)
Core.add_constructor(f"{TAG}int", Core.construct_whole)


def read_yaml(path: Path) -> Any:
    """The values of a YAML file.

    Raises: FileNotFoundError; ValueError naming the file and the place of what is no YAML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; run from the repository's root")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=Strict)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise ValueError(f"{path} is no YAML: {reason}") from error


def parse_yaml(text: str) -> Any:
    """The values of a text.

    Raises: yaml.YAMLError if it is no YAML.
    """
    return yaml.load(text, Loader=Core)


def write_yaml(values: Any) -> str:
    """The text of a YAML file, keys in their order.

    Raises: ValueError if it could not be read again, as with half of a pair of surrogates.
    """
    text = yaml.dump(values, Dumper=Quoting, allow_unicode=True, sort_keys=False)
    try:
        if yaml.load(text, Loader=Strict) == values:
            return text
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{values} cannot be written as YAML: {error}") from error
    raise ValueError(f"{values} would be read again as other values")


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
