"""A table as Markdown, LaTeX, HTML and CSV; templates hold the form and no number."""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nextbasis.tables.layout import Cell, Layout

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "×": r"$\times$",
    "δ": r"$\delta$",
}
MARKDOWN = {"\\": r"\\", "|": r"\|", "<": "&lt;", ">": "&gt;", "*": r"\*", "_": r"\_", "`": r"\`"}
# Columns of text: aligned to the left; their widths in LaTeX where lines must break.
TEXT_COLUMNS = {
    "system": "l",
    "group": "l",
    "published in": "l",
    "what it is": "l",
    "claim": "l",
    "statement": "p{7cm}",
    "verdict at this scale": "p{4cm}",
    "verdict": "p{4cm}",
    "what decides": "p{4cm}",
    "source": "p{3cm}",
    "reading": "l",
    "test": "l",
    "by itself": "p{4cm}",
    "metric": "l",
}
PAGES = ("html", "summary")  # formats whose text is escaped for HTML


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is.

    Raises: ValueError for a character that plain LaTeX cannot print.
    """
    escaped = "".join(LATEX.get(character, character) for character in text)
    if unknown := sorted({character for character in escaped if ord(character) > 127}):
        raise ValueError(f"tables: LaTeX has no form for {unknown} in '{text}'; add it to LATEX")
    return escaped


def escape_markdown(text: str) -> str:
    """Text that Markdown prints as it is, in a table's cell too."""
    return "".join(MARKDOWN.get(character, character) for character in text)


def render(layout: Layout, suffix: str, templates: Path) -> str:
    """The table in one format: md, tex, html, csv, or summary, a part of a page.

    Raises: FileNotFoundError if the template is missing.
    """
    if suffix == "csv":
        return pd.DataFrame(layout.tidy).to_csv(index=False, lineterminator="\n")
    name = f"table.{suffix}.j2"
    if not (templates / name).is_file():
        raise FileNotFoundError(
            f"{templates / name} is missing: it is the form of .{suffix} tables"
        )
    template = _environment(suffix, templates).get_template(name)
    alignment = ["l" if column in TEXT_COLUMNS else "r" for column in layout.columns]
    widths = [TEXT_COLUMNS.get(column, "r") for column in layout.columns]
    body = _body(layout, alignment) if suffix == "md" else ""
    return template.render(table=layout, alignment=alignment, widths=widths, body=body)


def _environment(suffix: str, templates: Path) -> Environment:
    options: dict[str, Any] = {
        "loader": FileSystemLoader(templates),
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
        "keep_trailing_newline": True,
        "autoescape": suffix in PAGES,
    }
    if suffix == "tex":  # braces are LaTeX's own
        options |= {"variable_start_string": "<<", "variable_end_string": ">>"}
        options |= {"block_start_string": "<%", "block_end_string": "%>"}
        options |= {"comment_start_string": "<#", "comment_end_string": "#>"}
    environment = Environment(**options)
    environment.filters["tex"] = escape_latex
    environment.filters["md"] = escape_markdown
    return environment


def _body(layout: Layout, alignment: list[str]) -> str:
    """The Markdown table, padded so that it reads well on a terminal too."""

    def text(cell: Cell) -> str:
        marks = "".join(f" [{mark}]" for mark in cell.marks)
        return escape_markdown(cell.text) + marks

    rows = [[text(cell) for cell in row] for row in layout.rows]
    frame = pd.DataFrame(rows, columns=[escape_markdown(name) for name in layout.columns])
    sides = ["left" if side == "l" else "right" for side in alignment]
    return frame.to_markdown(index=False, disable_numparse=True, colalign=sides)
