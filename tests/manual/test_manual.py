"""docs/reference against the code: the committed pages are those that it makes, and whole."""

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from nextbasis.commands.cli import command_line
from nextbasis.config import SECTIONS
from nextbasis.families import find, names
from nextbasis.manual import COMMAND, FOLDER, pages
from nextbasis.manual import command_line as reference
from nextbasis.manual.fields import keys_of, table
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def committed(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def test_the_committed_pages_are_those_of_the_code() -> None:
    made = pages()
    assert set(made) == set(FOLDER.glob("*"))
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is old: run `{COMMAND}`"


def test_every_value_of_a_recipe_is_a_key_with_a_meaning() -> None:
    """YAML files of all sections, read as such: each key stands in its section of the page."""
    parts = re.split(r"^## ", committed("configuration.md"), flags=re.MULTILINE)
    page = {part.partition("\n")[0]: part for part in parts}
    for section in SECTIONS:
        roots = [Path("config") / section, *(find(family).recipes / section for family in names())]
        files = [path for root in roots for path in root.rglob("*.yaml")]
        if section == "evaluation":
            files = list(Path("config/scales").glob("*/evaluation.yaml"))
        keys = {key for path in files for key in yaml.safe_load(path.read_text(encoding="utf-8"))}
        assert keys
        for key in keys:
            rows = re.findall(rf"^\| `{key}[`.].*\| (.*) \|$", page[section], re.MULTILINE)
            assert rows and all(rows), f"{section}.{key} has no meaning: write a comment behind it"


def test_every_command_and_option_is_described() -> None:
    page = committed("commands.md")
    for words in re.findall(r"^    (?:(\S+)\s)", command_line().format_help(), re.MULTILINE):
        assert f"\n## {words}\n" in page
    (commands,) = (
        action.choices
        for action in command_line()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for parser in commands.values():
        options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", parser.format_usage())) - {"--help"}
        assert all(f"`{option}" in page or f", {option}" in page for option in options)


@pytest.mark.parametrize("width", ["30", "200"])
def test_the_terminal_has_no_say(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert committed("commands.md").endswith(reference.page())


def test_every_output_of_a_stage_is_named() -> None:
    rows = [line.split(" | ") for line in committed("files.md").splitlines() if " | " in line]
    for stage in load_stages(load_catalog(), only=["cpu"]):
        told = [row[3] for row in rows if row[0] == f"| `{stage.kind}`"]
        assert all(
            f"`{Path(path).name}`" in told[0] for path in stage.outs if stage.kind != "extractor"
        )


@dataclass
class _Below:
    deep: float  # a part | of it


@dataclass
class _Sample(_Below):
    # A meaning that takes
    # two lines.
    first: int
    second: list[str] = field(default_factory=list)  # behind it
    below: _Below | None = None


def test_meanings_are_the_comments_beside_the_keys() -> None:
    told = [(key.name, key.kind, key.default, key.meaning) for key in keys_of(_Sample)]
    assert told == [
        ("deep", "float", "", "a part | of it"),
        ("first", "int", "", "A meaning that takes two lines."),
        ("second", "list[str]", "[]", "behind it"),
        ("below.deep", "float", "", "a part | of it"),
    ]
    assert table([["a | b"]], ["x"]) == "| x |\n|:--|\n| a \\| b |"
