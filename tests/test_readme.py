"""The README against the repository: its tables are the committed ones, its files all are."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
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


def test_every_tracked_file_is_mentioned() -> None:
    listed = git("ls-files").split()
    prefixes = ("results/", "tests/", "config/", "workflow/", "profiles/", ".dvc/")
    stems = set(re.findall(r"[\w.\-]+", README))
    unmentioned = [
        path
        for path in listed
        if not path.startswith(prefixes)
        and not path.startswith(("src/nextbasis/stages/", "src/nextbasis/metrics/weights/"))
        and Path(path).name not in ("__init__.py", "py.typed", ".gitignore", "README.md")
        and not {Path(path).name, Path(path).stem} & stems
    ]
    assert not unmentioned


def test_a_ruler_has_the_columns_of_its_header() -> None:
    lines = README.splitlines()
    rulers = [number for number, line in enumerate(lines) if RULER.match(line)]
    assert rulers
    assert all(lines[number].count("|") == lines[number - 1].count("|") for number in rulers)
