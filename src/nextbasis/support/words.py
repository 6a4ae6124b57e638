"""Lists of names in a sentence, never longer than can be read."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 12  # names that are spelled out


def listed(names: Iterable[object], separator: str = ", ") -> str:
    """The names, of many the first ones and how many more there are."""
    words = [str(name) for name in names]
    text = separator.join(words[:MOST])
    return text if len(words) <= MOST else f"{text} and {len(words) - MOST} more"


def nearest(choices: Iterable[str], word: str) -> str:
    """The choices as `listed`, those that are spelled like `word` first."""
    names = list(choices)
    near = get_close_matches(word, names, n=MOST)
    return listed([*near, *(name for name in names if name not in near)])
