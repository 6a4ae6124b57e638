"""Fixtures of the official models: beside the project, and no part of it."""

from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures"


def fixture_path(name: str) -> Path:
    """A file of the fixtures; the test is skipped if it is not at hand."""
    path = FIXTURES / name
    if not path.exists():
        pytest.skip("needs the official models' fixtures, which are not part of the product")
    return path
