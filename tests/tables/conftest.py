"""Made-up results that the tests of tables share."""

from pathlib import Path
from typing import Any

import pytest

from results_tree import small_repository


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A repository in a temporary folder that holds made-up results."""
    return small_repository(tmp_path, monkeypatch)
