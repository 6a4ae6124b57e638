"""The ledger: its order, its files, the papers' own conflicts, and wrong claims that it refuses."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from made_up_claims import ALPHA, against, all_found, claim, found, set_score
from nextbasis.claims import __main__ as stage
from nextbasis.claims.evaluate import evaluate
from nextbasis.claims.inputs import CLAIMS, check_claims, claim_inputs, load_claims
from nextbasis.claims.ledger import claims_layout
from nextbasis.pipeline import catalog as catalogs
from nextbasis.tables import inputs, published
from results_tree import build

REPOSITORY = Path(__file__).parents[2]
CATALOG = catalogs.load_catalog(REPOSITORY)
LEDGER = load_claims(REPOSITORY / CLAIMS)


def test_claims_without_a_verdict_come_last(tree: dict[str, Any]) -> None:
    set_score({"a": [5.0, 6.0, 4.0], "a_bar": [4.0, 5.01, 2.99]})
    lone = claim() | {"compare": [against("b_bar", "b")]}
    claims = {"far": claim(scale="large"), "one": claim(), "lone": lone}
    layout = claims_layout(all_found(tree, claims), ALPHA, ([], ""))
    assert [row["claim"] for row in layout.tidy] == ["one", "lone", "far"]
    assert layout.caption.startswith(
        "3 claims, 2 of them with a verdict: 1 reproduced, 1 undecided; without: 1 not tested."
    )
    assert "The 1 that could be tested are judged together" in layout.caption
    none = claims_layout(all_found(tree, {"far": claim(scale="large")}), ALPHA, ([], ""))
    assert none.caption.startswith("1 claims, 0 of them with a verdict; without: 1 not tested. V")


def test_conflicts_of_the_papers_are_computed(tree: dict[str, Any]) -> None:
    pair = {"about": "FID", "between": [["P/main/a", "fid"], ["P/main/a_bar", "fid"]]}
    finding = found(tree, claim("above", conflicts=[pair]))
    assert finding.conflicts[0] == "FID: 1.7 (P main) against 1.63 (P main)"
    assert "contradict it themselves: a_bar against a is -0.07" in finding.conflicts[1]
    pair["between"][1] = pair["between"][0]
    with pytest.raises(ValueError, match="claims.one: both numbers of 'FID' are 1.7"):
        found(tree, claim(conflicts=[pair]))


def test_the_real_claims_lead_somewhere_and_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_claims(LEDGER, CATALOG)
    assert len(LEDGER["claims"]) >= 25
    build(tmp_path, CATALOG, "study")
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path)
    numbers = published.load(REPOSITORY / inputs.PUBLISHED)
    findings = evaluate(LEDGER, CATALOG, "study", numbers)
    assert [finding.name for finding in findings] == list(LEDGER["claims"])
    for finding in findings:
        missing = [c for c in finding.comparisons if c.effect is None]
        # 512 and 128 pixels and captions are other scales.
        elsewhere = finding.name.startswith(("bar_512", "bar_128", "bar_text_to_image"))
        assert elsewhere or not missing
    told = " ".join(text for finding in findings for text in finding.conflicts)
    for conflict in ("1.56 (BAR main) against 1.63", "xar_b_bar against mar_h is +0.01", "0.102 s"):
        assert conflict in told


def test_stage_renders_every_format_from_its_declared_inputs(tree: dict[str, Any]) -> None:
    claims = {"alpha": ALPHA, "claims": {"one": claim(), "two": claim(scale="large")}}
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    stage.main(["--scale", "small"])
    folder = Path("results/small/claims")
    assert len(list(folder.iterdir())) == 9
    page = (folder / "claims.html").read_text()
    assert "2 claims, 1 of them with a verdict: 1 undecided; without: 1 not tested." in page
    assert "decidable from scale large" in page
    rows = list(csv.DictReader((folder / "comparisons.csv").read_text().splitlines()))
    assert rows[0]["reading"] == "r0 of constant weight" and rows[0]["readings_tried"] == "1"
    assert "A basis helps A." in (folder / "summary.html").read_text()
    results = [name for name in claim_inputs(claims, tree, "small") if name.startswith("results")]
    needed = {Path(name) for name in results} | {folder}
    for path in Path("results/small").rglob("*.json"):
        if path not in needed:
            path.unlink()
    shutil.rmtree(folder)
    stage.main(["--scale", "small"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "less"}, "claims.one: kind must be one of below, above"),
        ({"decidable_from": "huge"}, "decidable_from must be one of small, large; got 'huge'"),
        ({"kind": "equal"}, "kind 'equal' needs a tolerance"),
        ({"compare": []}, "give comparisons, or under `needs`"),
        ({"compare": [{"metric": "fad", "system": "a", "than": "b"}]}, "got 'fad'"),
        (
            {"compare": [{"metric": "geneval", "system": "a", "than": "b"}]},
            "config/claims.yaml:\n  claims.one: metric must be one of fid, sfid, kid, is_mean",
        ),
        (
            {"conflicts": [{"about": "x", "between": [["P/main/a", "fid"], ["P/main/a", "fad"]]}]},
            "claims.one: a conflict's metric must be one of fid, sfid, kid, is_mean",
        ),
        ({"compare": [{"metric": "fid", "system": "a"}]}, "needs one of than, than_published"),
        (
            {"compare": [{"metric": "fid", "system": "nobody", "than": "a"}]},
            "no scale evaluates the system 'nobody'; add an eval with 'system: nobody'",
        ),
    ],
)
def test_wrong_claims_are_refused(
    tree: dict[str, Any],
    change: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    claims = {"alpha": ALPHA, "claims": {"one": claim() | change}}
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small"])
    assert message in capsys.readouterr().err
    Path("config/claims.yaml").unlink()
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small"])
    assert "config/claims.yaml is missing" in capsys.readouterr().err


def test_published_number_that_is_missing_is_named(tree: dict[str, Any]) -> None:
    one = claim()
    one["compare"] = [{"metric": "recall", "system": "a", "than_published": "P/main/a"}]
    with pytest.raises(ValueError, match="'P/main/a' has no published recall"):
        found(tree, one)
