"""README and house against the repository: committed tables, a line for every folder."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
HOUSE = (ROOT / "docs" / "house.md").read_text()
WHOLE = re.compile(r"(config|profiles|tests|src/nextbasis/families/\w+)/")  # with all that is below
RULER = re.compile(r"^\|[:\-|\s]+$")


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def rows(text: str) -> set[str]:
    """Rows of Markdown tables, without the padding."""
    lines = (line.strip() for line in text.splitlines() if line.startswith("|"))
    return {re.sub(r"\s*\|\s*", "|", line) for line in lines if not RULER.match(line)}


@pytest.mark.parametrize("name", ["bar_gains", "rar_main"])
def test_tables_in_the_readme_are_the_committed_ones(name: str) -> None:
    committed = git("show", f"HEAD:results/cpu/tables/{name}.md")
    assert not rows(committed) - rows(README)


def test_the_house_has_a_line_for_every_folder() -> None:
    tracked = (Path(path) for path in git("ls-files").split())
    folders = {str(folder) for path in tracked for folder in path.parents if str(folder) != "."}
    below_results = {folder for folder in folders if folder.startswith("results/")}
    named = set(re.findall(r"^ *- `([^`]+)/`", HOUSE, re.MULTILINE))
    whole = {folder for folder in folders if WHOLE.match(folder)}
    assert named == folders - below_results - whole


def test_sharing_says_what_must_be_committed_before_dvc_collects_garbage() -> None:
    """`dvc gc -w` deletes DVC's copies of metrics that are in no commit yet."""
    sharing = README.partition("## Sharing results")[2].partition("\n## ")[0]
    assert "Commit metrics and `dvc.lock` before `dvc gc -w`" in sharing


def test_a_ruler_has_the_columns_of_its_header() -> None:
    lines = README.splitlines()
    rulers = [number for number, line in enumerate(lines) if RULER.match(line)]
    assert rulers
    assert all(lines[number].count("|") == lines[number - 1].count("|") for number in rulers)
