"""A scale that is shown half done, on made-up results of which some were not run yet."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy.stats import ttest_rel

from nextbasis.claims import __main__ as claims
from nextbasis.support.files import write_json
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


def test_a_claim_about_the_loss_on_test_images_waits_for_it(
    tree: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = small_claims()
    told["claims"]["a"]["compare"] = [{"metric": "held_out", "system": "a_bar", "than": "a"}]
    Path("config/claims.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    tree["small"]["heldouts"] = tree["small"]["runs"]
    write_catalog(Path(), tree)
    losses = {"a": (2.0, 2.25, 1.75), "a_bar": (1.5, 1.625, 1.375)}
    for key in tree["small"]["runs"]:
        system, _, seed = key.partition("_s")
        value = losses.get(system, (1, 1, 1))[int(seed or 0)]
        write_json(Path("results/small/heldout") / key / "metrics.json", {"held_out": value})
    whole = ledger()["a"]
    test = ttest_rel(losses["a_bar"], losses["a"]).confidence_interval(0.95)
    assert float(whole["effect"]) == -0.5
    assert (float(whole["low"]), float(whole["high"])) == pytest.approx((test.low, test.high))
    Path("results/small/heldout/a_s1/metrics.json").unlink()
    with pytest.raises(SystemExit):
        ledger()
    assert "results/small/heldout/a_s1/metrics.json is missing" in capsys.readouterr().err
    assert ledger("--so-far")["a"]["reason"] == "not run yet: a_bar against a"


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
