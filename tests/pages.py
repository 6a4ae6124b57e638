"""Blocks of code that the pages of the documentation show, and which of them a test runs."""

import re
from dataclasses import dataclass
from pathlib import Path

from command import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# A marker in the line before a block says why no test runs it.
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str  # bash or python
    code: str
    why_not: str  # no test runs it; empty: one does


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of commands and Python of a page, in order."""
    return [
        Block(page, found["language"], found["code"], found["why"] or "")
        for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]
