"""Names in an error are never more than can be read."""

import ast
from pathlib import Path

import pytest

from nextbasis.support.words import MOST, listed, nearest

SOURCE = Path(__file__).parents[2] / "src/nextbasis"
OF_LISTS = (", ", "; ", "\n  ")  # separators


def joins_in_errors(path: Path) -> list[str]:
    """What a module's errors join by hand, other than constants, whose length is known."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for error in (node for node in ast.walk(tree) if isinstance(node, ast.Raise)):
        for call in (node for node in ast.walk(error) if isinstance(node, ast.Call)):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr == "join"):
                continue
            separator = call.func.value
            names = [node.id for node in ast.walk(call.args[0]) if isinstance(node, ast.Name)]
            if isinstance(separator, ast.Constant) and separator.value in OF_LISTS:
                if not any(name.isupper() for name in names):
                    found.append(f"{path.name}:{call.lineno}: {ast.unparse(call)}")
    return found


@pytest.mark.parametrize(
    "room", sorted(path for path in SOURCE.iterdir() if path.is_dir()), ids=str
)
def test_lists_in_errors_are_cut(room: Path) -> None:
    assert [join for path in room.rglob("*.py") for join in joins_in_errors(path)] == []


def test_long_lists_are_cut_and_counted() -> None:
    assert listed([]) == "" and listed(["a"]) == "a" and listed(range(3), " or ") == "0 or 1 or 2"
    assert listed(range(MOST)) == ", ".join(map(str, range(MOST)))
    assert listed(range(MOST + 1)) == listed(range(MOST)) + " and 1 more"
    assert listed((str(index) for index in range(1000)), "; ").endswith(
        f"; 11 and {1000 - MOST} more"
    )


def test_of_many_choices_the_nearest_come_first() -> None:
    choices = [*(f"run_{index}" for index in range(100)), "xar_b_bar"]
    assert nearest(choices, "xar_b_baar") == listed(["xar_b_bar", *choices[:-1]])
    assert nearest(choices[-3:], "xar_b_baar") == "run_98, run_99, xar_b_bar"  # as they were
    assert nearest(range(50), None).startswith("0, 1, 2, ")
