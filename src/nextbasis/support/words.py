"""Lists of names in a sentence, never longer than can be read."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 12  # names that are spelled out


def listed(names: Iterable[object], separator: str = ", ", most: int = MOST) -> str:
    """The names, of more than `most` the first ones and how many more there are."""
    words = [str(name) for name in names]
    text = separator.join(words[:most])
    return text if len(words) <= most else f"{text} and {len(words) - most} more"


def nearest(choices: Iterable[object], word: object) -> str:
    """The choices as `listed`; of many, those that are spelled like `word` come first."""
    names = [str(choice) for choice in choices]
    if len(names) <= MOST:
        return listed(names)
    near = get_close_matches(str(word), names, n=MOST)
    return listed([*near, *(name for name in names if name not in near)])
