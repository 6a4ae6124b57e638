"""What is handed on: a folder of a run, and tables that LaTeX understands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker
from safetensors.numpy import load_file

from command import ROOT, refused, run
from nextbasis.commands.share import citation
from nextbasis.support.files import read_json, write_json
from results_tree import build_trained

TABLES = sorted([*ROOT.glob("tests/golden/*.tex"), *ROOT.glob("results/cpu/*/*.tex")])


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with made-up results of runs that were trained."""
    build_trained(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folder_is_complete_and_checks_itself(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(capsys, "share", "a_bar", "out/a_bar", "--scale", "small")
    assert report["evaluations"] == "a_bar"
    folder = tree / "out/a_bar"
    sums = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True
    )
    assert sums.returncode == 0
    listed = {line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert listed | {"SHA256SUMS"} == {path.name for path in folder.iterdir()}
    assert "basis" in load_file(folder / "model.safetensors")
    assert read_json(folder / "config.json")["model"] == {"family": "xar"}


def test_card_tells_what_was_measured_and_the_terms(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "share", "a_bar", "out", "--scale", "small")
    card = (tree / "out/README.md").read_text()
    fid = read_json(tree / "results/small/score/a_bar/score.json")["values"]["fid"]
    assert f"{fid:.2f} ± 0.08" in card and "310,003 parameters" in card
    assert "synthetic-v0" in card and "non-commercial" in card and "Apache-2.0" in card
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "other" and "basis" in head["tags"]


def test_card_has_a_column_for_every_score(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "results/small/score/a_bar/score.json"
    score = read_json(path)
    score["values"]["kid"] = -0.000123
    write_json(path, score)
    run(capsys, "share", "a_bar", "out", "--scale", "small")
    card = (tree / "out/README.md").read_text()
    assert "KID ↓" in card and "−0.00012" in card and "retrieval" not in card


def test_what_is_missing_is_named_with_its_command(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(capsys, "share", "nothing", "out", "--scale", "small")
    assert "small has no run 'nothing'" in error and "a_bar" in error
    (tree / "results/small/train/a_bar/model.safetensors").unlink()
    error = refused(capsys, "share", "a_bar", "out", "--scale", "small")
    assert (
        "`dvc repro config/scales/small/dvc.yaml:train@a_bar` makes it" in error
        and "dvc checkout" in error
    )
    (tree / "out").mkdir()
    assert "exists already" in refused(capsys, "share", "a_bar", "out", "--scale", "small")


@pytest.mark.parametrize("basis", ["identity", "bar"])
@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_every_citation_has_its_reference(family: str, basis: str) -> None:
    text = citation("cpu-x_y", {"family": family, "basis": basis})
    LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    cited = {key for group in re.findall(r"\\cite{([^}]*)}", text) for key in group.split(",")}
    references = (ROOT / "workflow/templates/share/references.bib").read_text()
    assert cited <= set(re.findall(r"@\w+{(\w+),", references))
    assert references.count("{") == references.count("}")
    assert (basis == "bar") == ("bar" in cited)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_tables_are_latex(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    nodes, _, end = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    assert end == len(text)
    names = [node.environmentname for node in nodes if node.isNodeType(LatexEnvironmentNode)]
    assert names == ["table"]
    if shutil.which("pdflatex") is None:
        return
    body = "\\usepackage{booktabs,graphicx}\\begin{document}\n" + text + "\\end{document}"
    (tmp_path / "page.tex").write_text("\\documentclass{article}" + body)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    assert not subprocess.run(command, cwd=tmp_path, capture_output=True).returncode
