"""Words KEY=VALUE of a command line, checked before Hydra reads them: its own messages help nobody.

A key is a section, or a value of a section or of the stage; a + in front of it changes nothing.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from nextbasis.support.words import listed

KEY = re.compile(r"\+{0,2}([A-Za-z_]\w*(?:\.\w+)*)")
NAME = re.compile(
    r"[\w.-]*"
)  # of runs, tokenizers and scales, which are folders; `key` may be empty
ALIKE = 0.7  # of two spellings, from 0 to 1, that one is taken for the other


def check_overrides(
    stage: str,
    words: Sequence[str],
    keys: Collection[str],
    below: Callable[[], Iterable[str]] = tuple,
) -> list[str]:
    """The words as Hydra shall read them: each gives one value to one of the stage's `keys`.

    A key below a section is added if it is not there, since the section's schema knows its keys.
    `below` lists those keys, such as train.lr, for the message about a word that is none of them.

    Raises: ValueError naming key, value and what would be right.
    """
    checked = []
    for word in words:
        given, equals, value = word.partition("=")
        match = KEY.fullmatch(given)
        if match is None or not equals:
            raise ValueError(f"stage {stage}: '{word}' is no KEY=VALUE, such as key=a_name")
        key = match[1]
        if key.split(".")[0] not in keys:
            advice = meant(key, [*keys, *below()])
            raise ValueError(f"stage {stage} does not read {key}; it reads {listed(keys)}{advice}")
        _check_value(key, value)
        checked.append(f"++{key}={value}" if "." in key else f"{key}={value}")
    return checked


def meant(key: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown key: the known ones that are spelled most like it.

    A key below a section is compared as a whole first; then last parts are. Nothing if none is.
    """
    names = list(known)
    whole = get_close_matches(key.lower(), names, n=1, cutoff=ALIKE) if "." in key else []
    last = {name: name.rpartition(".")[2] for name in names}
    near = get_close_matches(key.rpartition(".")[2].lower(), set(last.values()), 1, ALIKE)
    found = whole or [name for name in names if last[name] in near]
    return f"; did you mean {listed(found, ' or ')}?" if found else ""


def check_name(key: str, name: str) -> None:
    """Nothing if a name can be a folder's.

    Raises: ValueError naming the key.
    """
    if not NAME.fullmatch(name) or set(name) == {"."} or not name and key != "key":
        raise ValueError(f"{key} must be of letters, digits and _ . -; got '{name}'")


def _check_value(key: str, value: str) -> None:
    try:
        sweep = OverridesParser.create().parse_override(f"{key}={value}").is_sweep_override()
    except HydraException as error:
        raise ValueError(
            f"{key}: the value {value} cannot be read; text with signs stands in quotes that the "
            f"shell leaves alone, as in \"{key}='…'\", and a list in [ ]"
        ) from error
    if sweep:
        raise ValueError(f"{key} has one value, got {value}; a list stands in [ ]")
    if "${" in value:
        raise ValueError(f"{key} must be a value itself, got {value}, which nothing here replaces")
