"""The documentation against the tests, files, commands and stages that it names."""

import re
import shlex
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser

from nextbasis.commands.cli import command_line
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages
from pages import PAGES, blocks

TESTS = Path(__file__).parent
BASIS = (TESTS.parent / "docs" / "basis.md").read_text()
LETTERS = {"M": "test_basis_mathematics.py", "D": "test_basis_descent.py"}


def test_every_test_named_in_the_documentation_exists() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", BASIS)
    lettered = re.findall(r"\b([MD])\s+`(test_\w+)`", BASIS)
    named += [(LETTERS[letter], test) for letter, test in lettered]
    missing = [(f, t) for f, t in named if f"def {t}(" not in _text(f)]
    assert len(named) > 30 and not missing


def test_every_statement_test_is_named_in_the_documentation() -> None:
    tests = "".join(_text(file) for file in LETTERS.values())
    unnamed = [name for name in re.findall(r"def (test_p\d+_\w+)", tests) if name not in BASIS]
    assert not unnamed


def _text(file: str) -> str:
    (path,) = TESTS.rglob(file)
    return path.read_text()


def test_links_lead_somewhere() -> None:
    broken = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert not broken


def commands(name: str) -> list[str]:
    """Lines of the documentation that start a command, without comments."""
    every = [block.code for page in PAGES for block in blocks(page) if block.language == "bash"]
    lines = [line for code in every for line in code.replace("\\\n", "").splitlines()]
    return [line.split("#")[0].split("||")[0] for line in lines if line.startswith(f"{name} ")]


@pytest.mark.parametrize("line", commands("nextbasis"))
def test_commands_are_understood(line: str) -> None:
    """The words of a command that a page shows; nothing is run."""
    given, rest = command_line().parse_known_args(shlex.split(line)[1:])
    assert all("=" in word and given.takes(word) for word in rest), rest


@pytest.mark.parametrize("line", commands("snakemake"))
def test_snakemake_takes_its_settings_apart_from_its_targets(line: str) -> None:
    given = get_argument_parser().parse_args(shlex.split(line)[1:])
    assert all("=" in word for word in given.config or ()), given.config
    assert not any("=" in word for word in given.targets), given.targets


def test_costs_on_the_page_of_clusters_are_those_of_the_plan() -> None:
    docs = TESTS.parent / "docs"
    text = (docs / "how-to/cluster.md").read_text(encoding="utf-8").partition("\n\n")[0]
    plan = (docs / "paper-scale.md").read_text(encoding="utf-8")
    steps = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in re.findall(r"^\| \d+\. .*", plan, re.MULTILINE)
    ]
    first, last = steps[1], steps[-1]
    assert "xAR-B with and without" in first[0]
    wanted = [*first[3:5], *last[5:7]]  # A100 and H100, of the step and of all
    assert re.findall(r"[\d,]*\d(?= (?:GPU-hours|on H100))", text) == wanted
    assert f"step {first[0].split('.')[0]} of" in text and f"All {len(steps)} steps" in text


def test_settings_of_snakemake_and_stages_that_pages_name_exist() -> None:
    catalog = load_catalog(TESTS.parent)
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"--config scale=(\w+)|SCALE=([a-z]\w+)", text))
    scales = {name for pair in named for name in pair if name}
    assert scales and scales <= set(catalog)
    stages = {stage.address for stage in load_stages(catalog, TESTS.parent)}
    told = set(re.findall(r"dvc repro (?:-f -s )?((?:config/\S+?:)?\w+@\w+)", text))
    assert told and told <= stages
