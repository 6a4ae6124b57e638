"""The documentation against the tests that it names."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
BASIS = (TESTS.parent / "docs" / "basis.md").read_text()
LETTERS = {"M": "test_basis_mathematics.py", "D": "test_basis_descent.py"}


def test_every_test_named_in_the_documentation_exists() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", BASIS)
    lettered = re.findall(r"\b([MD])\s+`(test_\w+)`", BASIS)
    named += [(LETTERS[letter], test) for letter, test in lettered]
    missing = [(f, t) for f, t in named if f"def {t}(" not in _text(f)]
    assert len(named) > 30 and not missing


def test_every_statement_test_is_named_in_the_documentation() -> None:
    tests = "".join(_text(file) for file in LETTERS.values())
    unnamed = [name for name in re.findall(r"def (test_p\d+_\w+)", tests) if name not in BASIS]
    assert not unnamed


def _text(file: str) -> str:
    (path,) = TESTS.rglob(file)
    return path.read_text()
