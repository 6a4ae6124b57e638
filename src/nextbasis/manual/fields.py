"""The keys of a config dataclass, with the meanings that comments in its source give them.

A meaning is the comment behind the key, or the lines of comment directly above it. How source looks
does not depend on the version of Python, other than how dataclasses and types print.
"""

import ast
import inspect
import io
import json
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_args, get_type_hints


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key: its name, with a dot below another one's, and what can be said of it."""

    name: str
    kind: str  # its type, as the source writes it
    default: str  # as YAML writes it; empty: YAML must give the value
    meaning: str


def keys_of(schema: type) -> list[Key]:
    """All keys of a dataclass in their order; below a key that is a dataclass, those of that."""
    written: dict[str, tuple[str, str]] = {}
    for part in reversed(schema.__mro__):
        if is_dataclass(part):
            written |= _written(part)
    hints, found = get_type_hints(schema), []
    for field in fields(schema):
        kind, meaning = written[field.name]
        parts = (hints[field.name], *get_args(hints[field.name]))
        below = [key for part in parts if is_dataclass(part) for key in keys_of(part)]  # type: ignore[arg-type]
        if meaning or not below:
            found.append(Key(name=field.name, kind=kind, default=_default(field), meaning=meaning))
        found += [replace(key, name=f"{field.name}.{key.name}") for key in below]
    return found


def table(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> str:
    """A Markdown table; signs that would end a cell are escaped."""
    ruler = "|".join([":--"] * len(headings))
    lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in (headings, *rows)]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], f"|{ruler}|", *lines[1:]])


def code(text: str) -> str:
    """Text set as code; nothing if it is empty."""
    return f"`{text}`" if text else ""


def _default(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return json.dumps(field.default_factory())
    return "" if field.default is MISSING else json.dumps(field.default)


@cache
def _written(schema: type) -> dict[str, tuple[str, str]]:
    """Type and meaning of the keys that stand in a dataclass itself."""
    source = inspect.getsource(schema)
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    comments = dict(_comments(source))
    lines = source.splitlines()
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno
            while lines[first - 2].lstrip().startswith("#"):  # lines count from 1
                first -= 1
            last = (node.end_lineno or node.lineno) + 1
            said = [comments[line] for line in range(first, last) if line in comments]
            found[node.target.id] = (ast.unparse(node.annotation), " ".join(said))
    return found


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Every comment with the number of its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
