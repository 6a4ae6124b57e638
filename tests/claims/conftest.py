"""A repository of made-up results for every test of claims."""

from pathlib import Path
from typing import Any

import pytest

from results_tree import small_repository


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Made-up results in a temporary folder; the catalog."""
    return small_repository(tmp_path, monkeypatch)
