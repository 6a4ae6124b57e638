"""README and house against the repository: committed tables, a line for every folder."""

import csv
import io
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHARING = (ROOT / "docs" / "how-to" / "share.md").read_text(encoding="utf-8")
HOUSE = (ROOT / "docs" / "house.md").read_text()
WHOLE = re.compile(r"(config|profiles|tests|src/nextbasis/families/\w+)/")  # with all that is below
RULER = re.compile(r"^\|[:\-|\s]+$")


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def committed(path: str, scale: str = "study") -> list[dict[str, str]]:
    """Rows of a committed file of data."""
    return list(csv.DictReader(io.StringIO(git("show", f"HEAD:results/{scale}/{path}"))))


def signed(value: str) -> str:
    return f"{float(value):+.2f}".replace("-", "−")


@pytest.mark.parametrize(("label", "claim"), [("MAR-B", "mar_b"), ("xAR-B", "xar_b")])
def test_the_table_of_the_readme_is_the_committed_one(label: str, claim: str) -> None:
    table = {row["row"]: row for row in committed("tables/bar_gains.csv")}
    (said,) = (row for row in committed("claims/claims.csv") if row["claim"] == f"bar_gain_{claim}")
    cells = [
        label,
        *(
            f"{float(table[name]['measured']):.2f} ± {float(table[name]['spread']):.2f}"
            for name in (label, f"{label} + BAR")
        ),
        f"{signed(said['effect'])} ({signed(said['published_effect'])})",
    ]
    assert f"| {' | '.join(cells)} |" in README
    interval = f"({signed(said['low_deciding'])} to {signed(said['high_deciding'])})"
    assert f"{label} by {signed(said['effect'])} {interval}" in README
    assert said["verdict"] == "undecided" and "BAR is undecided" in README


@pytest.mark.parametrize(("label", "claim"), [("MAR-B", "mar"), ("xAR-B", "xar")])
def test_what_the_readme_says_of_emoji_is_committed(label: str, claim: str) -> None:
    table = {
        row["row"]: float(row["measured"]) for row in committed("tables/bar_128.csv", "emoji128")
    }
    rows = committed("claims/claims.csv", "emoji128")
    (said,) = (row for row in rows if row["claim"] == f"bar_128_{claim}")
    effect, low, high = (float(said[name]) for name in ("effect", "low_deciding", "high_deciding"))
    rise = f"from {table[label]:.1f} to {table[f'{label} + BAR']:.1f}, by {effect:.1f}"
    assert f"{rise} ({low:.1f} to {high:.1f})" in README
    assert said["verdict"] == "contradicted"


def test_pictures_of_the_readme_are_small() -> None:
    pictures = list((ROOT / "docs/pictures").iterdir())
    assert pictures and sum(path.stat().st_size for path in pictures) <= 400_000


def test_the_house_has_a_line_for_every_folder() -> None:
    tracked = (Path(path) for path in git("ls-files").split())
    folders = {str(folder) for path in tracked for folder in path.parents if str(folder) != "."}
    below_results = {folder for folder in folders if folder.startswith("results/")}
    named = set(re.findall(r"^ *- `([^`]+)/`", HOUSE, re.MULTILINE))
    whole = {folder for folder in folders if WHOLE.match(folder)}
    assert named == folders - below_results - whole


def test_sharing_says_what_must_be_committed_before_dvc_collects_garbage() -> None:
    """`dvc gc -w` deletes DVC's copies of metrics that are in no commit yet."""
    assert "Commit metrics and `dvc.lock` before `dvc gc -w`" in " ".join(SHARING.split())


def test_a_ruler_has_the_columns_of_its_header() -> None:
    lines = README.splitlines()
    rulers = [number for number, line in enumerate(lines) if RULER.match(line)]
    assert rulers
    assert all(lines[number].count("|") == lines[number - 1].count("|") for number in rulers)
