"""Tables: golden renderings of made-up results, headers, layouts, the command."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from nextbasis.pipeline import catalog as catalogs
from nextbasis.support.files import read_json, write_json
from nextbasis.tables import __main__ as stage
from nextbasis.tables import header, inputs, render
from nextbasis.tables.layout import AXES
from results_tree import write_catalog

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"
CATALOG = catalogs.load_catalog(REPOSITORY)


@pytest.mark.parametrize("suffix", inputs.FORMATS)
@pytest.mark.parametrize("table", ["systems", "pairs"])
def test_rendering_equals_the_golden_file(catalog: dict[str, Any], table: str, suffix: str) -> None:
    stage.main(["--scale", "small", "--table", table])
    text = Path(f"results/small/tables/{table}.{suffix}").read_text(encoding="utf-8")
    assert text == (GOLDEN / f"{table}.{suffix}").read_text()


def test_golden_latex_has_balanced_braces_and_equal_columns() -> None:
    for table in ("systems", "pairs"):
        text = (GOLDEN / f"{table}.tex").read_text()
        bare = re.sub(r"\\[{}&%$#_]", "", text)
        assert bare.count("{") == bare.count("}") > 0
        assert bare.count("$") % 2 == 0
        assert text.isascii()
        assert sorted(re.findall(r"\\begin{(\w+)}", text)) == sorted(
            re.findall(r"\\end{(\w+)}", text)
        )
        form = re.search(r"\\begin{tabular}{((?:[lr]|p{\dcm})+)}", text)
        assert form is not None
        columns = re.findall(r"[lr]|p{\dcm}", form[1])
        lines = [line for line in bare.splitlines() if line.rstrip().endswith("\\\\")]
        assert {line.count("&") + 1 for line in lines} == {len(columns)}


class Balance(HTMLParser):
    """Counts open tags; every closing tag must close the last open one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[int] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.cells.append(0)
        elif tag in ("td", "th"):
            self.cells[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_golden_html_is_balanced_and_needs_no_other_file() -> None:
    for table in ("systems", "pairs"):
        text = (GOLDEN / f"{table}.html").read_text()
        parser = Balance()
        parser.feed(text)
        assert not parser.open
        assert len(set(parser.cells)) == 1 and len(parser.cells) > 2
        assert "A &amp; co" in text or table == "pairs"
        assert not re.search(r"src=|href=|url\(|@import", text)
        assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_special_characters_are_escaped() -> None:
    assert render.escape_latex("100 % of a_b & c") == r"100 \% of a\_b \& c"
    assert render.escape_markdown("a|b_<c>") == r"a\|b\_&lt;c&gt;"
    with pytest.raises(ValueError, match="LaTeX has no form for .*☃"):
        render.escape_latex("☃")


def test_the_header_names_processors_and_instruction_sets(catalog: dict[str, Any]) -> None:
    evals = inputs.table_evals(catalog, "small", "systems")
    assert "scores made on" not in dict(header.facts(catalog, "small", "systems"))
    for number, key in enumerate(evals):
        path = Path("results/small/score", key, "score.json")
        made = {"processor": f"CPU {number % 2}", "instructions": "AVX2", "pinned": True}
        score = read_json(path)
        write_json(path, score | {"provenance": score.get("provenance", {}) | made})
    found = dict(header.facts(catalog, "small", "systems"))["scores made on"]
    assert found == "CPU 0 (AVX2, pinned); CPU 1 (AVX2, pinned)"


def test_system_of_no_scale_is_an_error(
    catalog: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    catalog["tables"]["systems"]["rows"].append({"label": "?", "system": "nobody"})
    write_catalog(Path(), catalog)
    with pytest.raises(SystemExit, match="1"):
        stage.main(["--scale", "small", "--table", "systems"])
    message = capsys.readouterr().err
    assert message.startswith("error: tables.systems: no scale evaluates the system 'nobody'")


@pytest.mark.parametrize("varied", [None, *AXES])
def test_the_column_of_names_says_what_a_table_varies(
    catalog: dict[str, Any], varied: str | None
) -> None:
    table = catalog["tables"]["systems"]
    if varied:
        table["varies"] = varied
        table["rows"] = [{"group": "A", "label": "540", "system": "a"}]  # steps of its training
    heading = AXES[varied] if varied else "system"
    assert heading in stage.build(catalog, "small", "systems").columns[:2]


def test_a_row_without_a_label_is_named(
    catalog: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    catalog["tables"]["systems"]["rows"].append({"labl": "?", "system": "nobody"})
    write_catalog(Path(), catalog)
    with pytest.raises(SystemExit, match="1"):
        stage.main(["--scale", "small", "--table", "systems"])
    (line,) = capsys.readouterr().err.splitlines()
    wanted = "tables.systems in config/tables.yaml: a row has no label, only labl, system"
    assert line == f"error: {wanted}"


def test_unknown_metric_is_an_error_before_anything_is_read(
    catalog: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    catalog["tables"]["systems"]["metrics"].append("kdi")
    write_catalog(Path(), catalog)
    shutil.rmtree("results")
    with pytest.raises(SystemExit, match="1"):
        stage.main(["--scale", "small", "--table", "systems"])
    message = capsys.readouterr().err
    assert message.startswith("error: tables.systems.metrics in config/tables.yaml must be of ")
    assert "kid" in message and message.endswith("got 'kdi'\n")


def test_print_shows_the_rendered_table(
    catalog: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        stage.main(["--scale", "small", "--print", "pairs"])
    assert "snakemake --cores 2 results/small/tables/pairs.md" in capsys.readouterr().err
    stage.main(["--scale", "small", "--table", "pairs"])
    capsys.readouterr()
    stage.main(["--scale", "small", "--print", "pairs"])
    shown = capsys.readouterr().out
    assert (
        shown.rstrip() == Path("results/small/tables/pairs.md").read_text(encoding="utf-8").rstrip()
    )


def test_commit_is_dirty_once_a_source_is_changed(tmp_path: Path) -> None:
    assert header.commit(tmp_path) == "no git commit"
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/code.py").write_text("")
    for command in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", "code"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = header.commit(tmp_path)
    assert re.fullmatch(r"commit [0-9a-f]{12}", clean)
    (tmp_path / "README.md").write_text("not a source")
    assert header.commit(tmp_path) == clean
    (tmp_path / "src/code.py").write_text("changed")
    assert header.commit(tmp_path) == clean + "-dirty"


def test_only_the_plumbing_scales_warn() -> None:
    for scale in catalogs.scales(CATALOG):
        protocol = yaml.safe_load(
            (REPOSITORY / f"config/scales/{scale}/evaluation.yaml").read_text()
        )
        plumbing = protocol["protocol"] == "tiny-plumbing"
        assert ("numbers mean nothing" in header.warning(CATALOG, scale)) == plumbing, scale
    assert header.warning(CATALOG, "tiny_text")


def test_tidy_csv_has_one_row_per_system_and_metric(catalog: dict[str, Any]) -> None:
    text = render.render(stage.build(catalog, "small", "systems"), "csv", inputs.TEMPLATES)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 5 * 6
    assert len({(row["row"], row["metric"]) for row in rows}) == len(rows)
    (row,) = [row for row in rows if (row["row"], row["metric"]) == ("A & co", "params")]
    assert float(row["published"]) == 172e6
    assert float(row["measured"]) == 310_001  # the mean over three runs
