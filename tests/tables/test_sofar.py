"""A scale that is shown half done, on made-up results of which some were not run yet."""

import csv
from pathlib import Path
from typing import Any

import pytest

from nextbasis.claims import __main__ as claims
from nextbasis.tables import __main__ as tables
from nextbasis.tables import header
from results_tree import REPOSITORY, build, small_catalog, small_claims, write_catalog, write_claims

SYSTEMS = ("a", "a_bar", "b", "b_bar")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Results of all systems at `small`, three seeds of each; the catalog."""
    catalog = small_catalog()
    part = catalog["small"]
    for system in ("b", "b_bar"):
        for seed in (1, 2):
            key = f"{system}_s{seed}"
            part["runs"][key] = part["runs"][system]
            part["evals"][key] = part["evals"][system] | {"run": key, "seed": seed}
    build(tmp_path, catalog, "small")
    write_claims(tmp_path, small_claims())
    write_catalog(tmp_path, catalog)
    (tmp_path / "workflow").symlink_to(REPOSITORY / "workflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(header, "commit", lambda: "commit 0123456789ab")
    return catalog


def ledger(*told: str) -> dict[str, dict[str, str]]:
    claims.main(["--scale", "small", *told])
    text = Path("results/small/claims/claims.csv").read_text(encoding="utf-8")
    return {row["claim"]: row for row in csv.DictReader(text.splitlines())}


def table(name: str, *told: str) -> str:
    tables.main(["--scale", "small", "--table", name, *told])
    return Path(f"results/small/tables/{name}.md").read_text(encoding="utf-8")


def test_claims_that_wait_count_among_the_tested_ones(tree: dict[str, Any]) -> None:
    whole = ledger()
    assert float(whole["a"]["confidence_deciding"]) >= 1 - 0.05 / 2
    Path("results/small/score/b_bar_s2/score.json").unlink()
    half = ledger("--so-far")
    assert float(half["a"]["confidence_deciding"]) == 1 - 0.05 / 2
    assert half["a"]["effect"] == whole["a"]["effect"]
    assert half["b"]["verdict"] == "not tested" and not half["b"]["effect"]
    assert half["b"]["reason"] == "not run yet: b_bar against b"
    page = Path("results/small/claims/claims.md").read_text(encoding="utf-8")
    assert "Half done: 3 of 4 systems of this scale are made" in page
    assert "The 1 that could be tested and the 1 that wait for results are judged together" in page


def test_tables_say_what_was_not_run_yet(tree: dict[str, Any]) -> None:
    assert "Half done" not in table("systems", "--so-far")
    Path("results/small/train/b/metrics.json").unlink()
    shown = table("systems", "--so-far")
    rows = {line.split("|")[1].strip(): line for line in shown.splitlines() if line[:1] == "|"}
    assert "not run yet" in rows["B"] and "not run yet" not in rows["A & co"]
    assert "Half done: 3 of 4 systems" in shown
    shown = table("pairs", "--so-far")
    rows = {line.split("|")[1].strip(): line for line in shown.splitlines() if line[:1] == "|"}
    assert "not run yet" in rows["B"] and "not run yet" not in rows["A"]


def test_without_being_asked_nothing_is_shown_half_done(
    tree: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("results/small/score/b/score.json").unlink()
    for show in (ledger, lambda: table("systems"), lambda: table("pairs")):
        with pytest.raises(SystemExit):
            show()
        assert "results/small/score/b/score.json is missing" in capsys.readouterr().err
