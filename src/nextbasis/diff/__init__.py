"""What changed between two code versions: numbers, verdicts, pictures, and which change did it."""

import json
from pathlib import Path

from nextbasis.diff.changes import Difference, compare
from nextbasis.diff.history import open_version
from nextbasis.diff.pages import markdown, page
from nextbasis.support.files import write_text

__all__ = ["diff"]


def diff(
    old: str,
    new: str,
    threshold: float,
    html: Path | None,
    as_json: bool,
    speeds: bool = False,
    root: Path = Path(),
) -> tuple[str, bool]:
    """The report on what differs from `old` to `new` (empty: the working tree); speeds on request.

    Returns the text and whether a number moved by more than `threshold` spreads or a verdict
    flipped. Raises: ValueError for an unknown revision or one without recorded results.
    """
    versions = open_version(root, old), open_version(root, new)
    found: Difference = compare(*versions, threshold, speeds, root)
    if html:
        write_text(html, page(found, root))
    text = json.dumps(found.as_dict(), indent=2) if as_json else markdown(found, root)
    return text, found.moved
