"""Made-up results that the tests of tables share."""

from pathlib import Path
from typing import Any

import pytest

from nextbasis.tables import header
from results_tree import build, small_catalog, small_claims, write_catalog, write_claims

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A repository in a temporary folder that holds made-up results."""
    catalog = small_catalog()
    build(tmp_path, catalog, "small")
    write_claims(tmp_path, small_claims())
    write_catalog(tmp_path, catalog)
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/templates").symlink_to(REPOSITORY / "workflow/templates")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(header, "commit", lambda: "commit 0123456789ab")
    return catalog
