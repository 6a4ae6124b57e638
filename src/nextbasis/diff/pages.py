"""A difference as Markdown and as one HTML page that needs no other file."""

import base64
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nextbasis.diff.changes import Change, Difference, Picture
from nextbasis.scoring.facts import SCORES

TEMPLATES = "workflow/templates/diff"
CACHE = ".dvc/cache/files/md5"  # DVC's own; `dvc cache dir` may name another
HEADLINE = {f"values.{metric.name}" for metric in SCORES}


def markdown(difference: Difference, root: Path) -> str:
    """The report for a terminal or a pull request."""
    return _render("diff.md.j2", difference, root, escape=False)


def page(difference: Difference, root: Path) -> str:
    """The report with pictures side by side, where DVC's cache has both."""
    return _render("diff.html.j2", difference, root, escape=True)


def cached(root: Path, digest: str) -> str:
    """A cached picture as a data URI; empty if the cache lacks it."""
    path = root / CACHE / digest[:2] / digest[2:]
    if not path.is_file():
        return ""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _render(name: str, difference: Difference, root: Path, escape: bool) -> str:
    environment = Environment(
        loader=FileSystemLoader(root / TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=escape,
    )
    environment.filters |= {"number": _number, "signed": _signed, "spreads": _spreads}
    changes = difference.changes
    pairs = [(p, cached(root, p.old), cached(root, p.new)) for p in difference.pictures]
    return environment.get_template(name).render(
        difference=difference,
        moved=sorted((c for c in changes if c.moved), key=_order),
        noise=[c for c in changes if not c.moved and not math.isnan(c.spreads)],
        unjudged=[c for c in changes if math.isnan(c.spreads)],
        shown=[pair for pair in pairs if pair[1] and pair[2]],
        missing=_missing(pairs, difference),
        cells=[c for c in difference.tables if c.moved],
    )


def _order(change: Change) -> tuple[bool, float]:
    """Scores first, then by how far they moved."""
    return change.key not in HEADLINE, -change.spreads


def _missing(pairs: list[tuple[Picture, str, str]], difference: Difference) -> list[str]:
    lines = []
    for picture, old, new in pairs:
        lacking = [
            version
            for version, there in ((difference.old, old), (difference.new, new))
            if not there
        ]
        if lacking:
            lines.append(f"{picture.path}, of {' and of '.join(lacking)}")
    return lines


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3g}".replace("-", "−")


def _spreads(value: float) -> str:
    if math.isinf(value):
        return "does not vary"
    return "–" if math.isnan(value) else f"{value:.1f}"
