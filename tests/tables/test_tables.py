"""Tables: golden renderings of made-up results, statistics against other libraries, messages."""

import csv
import io
import math
import re
import shutil
import statistics
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nextbasis.claims import __main__ as ledger
from nextbasis.pipeline import catalog as catalogs
from nextbasis.support.files import read_json, write_json
from nextbasis.tables import __main__ as stage
from nextbasis.tables import header, inputs, layout, measured, published, render
from results_tree import (
    PUBLISHED,
    build,
    fid_of,
    small_catalog,
    small_claims,
    write_catalog,
    write_claims,
)

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"
CATALOG = catalogs.load_catalog(REPOSITORY)
RECIPES = REPOSITORY / "src/nextbasis/families"
NUMBERS = published.load(REPOSITORY / inputs.PUBLISHED)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A repository in a temporary folder that holds made-up results."""
    catalog = small_catalog()
    build(tmp_path, catalog, "small")
    write_claims(tmp_path, small_claims())
    write_catalog(tmp_path, catalog)
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/templates").symlink_to(REPOSITORY / "workflow/templates")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(header, "commit", lambda: "commit 0123456789ab")
    return catalog


def row_of(ready: layout.Layout, label: str) -> dict[str, layout.Cell]:
    position = ready.columns.index("system")
    row = next(row for row in ready.rows if row[position].text == label)
    return dict(zip(ready.columns, row, strict=True))


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


def test_mean_and_spread_over_seeds_equal_the_statistics_module(catalog: dict[str, Any]) -> None:
    frame = measured.collect(catalog, "small", ["a"])
    values = [fid_of(position, position) for position in range(3)]
    found = measured.estimate(frame, "a", "fid")
    assert found is not None
    assert found.value == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert found.spread == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert found.spread == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert (found.num_seeds, found.num_images) == (3, 2000)


def test_one_seed_shows_the_analytic_error_and_says_so(catalog: dict[str, Any]) -> None:
    ready = stage.build(catalog, "small", "systems")
    assert row_of(ready, "B")["FID ↓"].text == f"{fid_of(6, 0):.2f} ± 0.08 SE (1)"
    assert any(note.startswith("SE: one seed only") for note in ready.notes)


def set_fid(key: str, fid: float) -> None:
    path = Path(f"results/small/score/{key}/score.json")
    score = read_json(path)
    score["values"]["fid"] = fid
    write_json(path, score)


def difference_of(ready: layout.Layout, label: str) -> dict[str, Any]:
    return next(row for row in ready.tidy if row["row"] == f"{label} difference")


def test_paired_difference_equals_hand_computation(catalog: dict[str, Any]) -> None:
    for seed, (without, with_basis) in enumerate([(6.0, 5.5), (5.0, 5.0), (7.0, 6.0)]):
        suffix = f"_s{seed}" if seed else ""
        set_fid(f"a{suffix}", without)
        set_fid(f"a_bar{suffix}", with_basis)
    ready = stage.build(catalog, "small", "pairs")
    found = difference_of(ready, "A")
    assert found["measured"] == pytest.approx(-0.5)  # of -0.5, 0 and -1
    assert found["spread"] == pytest.approx(0.5 / math.sqrt(3))
    assert (found["n_seeds"], found["spread_is"]) == (3, measured.STANDARD_ERROR)
    row = row_of(ready, "A")
    assert row["difference"].text == "−0.50 ± 0.29 (3)"
    # 4.30 is Student's quantile at 2.5 % and two degrees of freedom.
    assert row["interval by itself"].text == "−1.74 to +0.742 (95%)"


def test_pairs_are_matched_by_seed_not_by_position(catalog: dict[str, Any]) -> None:
    evals = catalog["small"]["evals"]
    evals["a_bar"]["seed"], evals["a_bar_s2"]["seed"] = 2, 0
    found = difference_of(stage.build(catalog, "small", "pairs"), "A")
    values = {key: read_json(Path(f"results/small/score/{key}/score.json")) for key in evals}
    fid = {key: score["values"]["fid"] for key, score in values.items()}
    differences = [
        fid["a_bar_s2"] - fid["a"],
        fid["a_bar_s1"] - fid["a_s1"],
        fid["a_bar"] - fid["a_s2"],
    ]
    assert found["spread"] == pytest.approx(statistics.stdev(differences) / math.sqrt(3))


def test_one_seed_of_a_pair_decides_nothing(catalog: dict[str, Any]) -> None:
    set_fid("b", 100.0)
    for seed in (0, 5):  # a common one, and none
        catalog["small"]["evals"]["b"]["seed"] = seed
        row = row_of(stage.build(catalog, "small", "pairs"), "B")
        assert row["difference"].text.startswith("−9")
        assert row["interval by itself"].text == row["interval that decides"].text == "unknown"
        assert row["verdict"].text.startswith("undecided (")
        assert "one seed decides nothing" in row["verdict"].text


def test_verdict_of_a_pair_is_that_of_the_ledger(catalog: dict[str, Any]) -> None:
    for seed, fid in enumerate((5.0, 6.0, 4.0)):
        suffix = f"_s{seed}" if seed else ""
        set_fid(f"a{suffix}", fid)
        set_fid(f"a_bar{suffix}", fid - 1 + 0.001 * seed)
    ledger.main(["--scale", "small"])
    page = Path("results/small/claims/claims.md").read_text(encoding="utf-8")
    for label in ("A", "B"):
        row = row_of(stage.build(catalog, "small", "pairs"), label)
        line = next(line for line in page.splitlines() if f"| A basis helps {label}." in line)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        columns = ("verdict", "interval by itself", "interval that decides")
        shown = [render.escape_markdown(row[name].text) for name in columns]
        assert shown == [cells[2], cells[4], cells[5]]
        assert row["verdict"].text.startswith("reproduced" if label == "A" else "undecided")


def test_pair_that_no_claim_is_about_is_refused(catalog: dict[str, Any]) -> None:
    claims = small_claims()
    del claims["claims"]["b"]
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    with pytest.raises(
        ValueError, match="tables.pairs: no claim of .* compares b_bar with b in fi"
    ):
        stage.build(catalog, "small", "pairs")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("b", "tables.systems: a .17,280 images in 540 steps. and b .172,800 images in 5,400 st"),
        ("a_s1", "small.evals: the seeds of system 'a' were trained by different budgets: 17"),
    ],
)
def test_budgets_are_never_mixed(catalog: dict[str, Any], key: str, message: str) -> None:
    path = Path(f"results/small/train/{key}/metrics.json")
    write_json(path, read_json(path) | {"steps": 5_400, "images_seen": 172_800})
    with pytest.raises(ValueError, match=message):
        stage.build(catalog, "small", "systems")


def test_families_may_have_budgets_of_their_own(catalog: dict[str, Any]) -> None:
    catalog["small"]["runs"]["b"]["family"] = "rar"
    path = Path("results/small/train/b/metrics.json")
    write_json(path, read_json(path) | {"steps": 450, "images_seen": 7_200})
    assert stage.build(catalog, "small", "systems").rows


def test_system_of_another_scale_is_published_only(catalog: dict[str, Any]) -> None:
    ready = stage.build(catalog, "small", "systems")
    for label in ("Big", "Other_people"):
        row = row_of(ready, label)
        assert row["FID ↓"].text == layout.PUBLISHED_ONLY
        assert row["images"].text == layout.NOTHING
        assert row["published in"].text == "P main"
    assert row_of(ready, "B")["published in"].text == layout.NOT_PUBLISHED
    assert row_of(ready, "A again")["FID ↓"] == row_of(ready, "A & co")["FID ↓"]


def test_share_of_projected_steps_is_that_of_the_training(catalog: dict[str, Any]) -> None:
    catalog["tables"]["systems"]["metrics"] = ["fid", "projected_share"]
    for seed, share in enumerate((0.0, 0.5, 1.0)):
        path = Path(f"results/small/train/a{f'_s{seed}' if seed else ''}/metrics.json")
        write_json(path, read_json(path) | {"basis": {"projected_share": share}})
    ready = stage.build(catalog, "small", "systems")
    assert row_of(ready, "A & co")["steps projected"].text == "0.50 ± 0.50 (3)"
    assert row_of(ready, "B")["steps projected"].text == layout.NOTHING


def test_flags_become_one_footnote_each(catalog: dict[str, Any]) -> None:
    ready = stage.build(catalog, "small", "systems")
    assert row_of(ready, "Other_people")["FID, published"] == layout.Cell("2.50", ("a",))
    assert ready.footnotes == [("a", "two values, 2.5 | 2.6")]


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


@pytest.fixture
def kid(catalog: dict[str, Any]) -> dict[str, list[float]]:
    """KID of the seeds of `a` and `a_bar`; the other systems have none."""
    values = {"a": [0.0123456, 0.0113456, 0.0126], "a_bar": [0.0003, -0.0006, 0.0004]}
    for system, numbers in values.items():
        for seed, number in enumerate(numbers):
            path = Path(f"results/small/score/{system}{f'_s{seed}' if seed else ''}/score.json")
            score = read_json(path)
            score["values"]["kid"] = number
            write_json(path, score)
    return values


def test_kid_is_a_column_like_any_other(
    catalog: dict[str, Any], kid: dict[str, list[float]]
) -> None:
    catalog["tables"]["systems"]["metrics"] = ["fid", "kid"]
    ready = stage.build(catalog, "small", "systems")
    mean, spread = statistics.fmean(kid["a"]), statistics.stdev(kid["a"])
    assert row_of(ready, "A & co")["KID ↓"].text == f"{mean:.5f} ± {spread:.5f} (3)"
    assert row_of(ready, "B")["KID ↓"].text == layout.NOTHING
    rows = list(csv.DictReader(io.StringIO(render.render(ready, "csv", inputs.TEMPLATES))))
    (row,) = [row for row in rows if (row["row"], row["metric"]) == ("A & co", "kid")]
    assert float(row["measured"]) == pytest.approx(mean)
    for suffix in inputs.FORMATS:
        assert render.render(ready, suffix, inputs.TEMPLATES)


@pytest.mark.parametrize(
    ("metric", "heading", "kind", "verdict"),
    [("kid", "KID ↓", "below", "reproduced"), ("recall", "recall ↑", "above", "contradicted")],
)
def test_pairs_of_any_metric_show_its_better_direction(
    catalog: dict[str, Any],
    kid: dict[str, list[float]],
    metric: str,
    heading: str,
    kind: str,
    verdict: str,
) -> None:
    """Of both the system with a basis has the lower values."""
    for number, key in enumerate(("a_bar", "a_bar_s1", "a_bar_s2")):
        path = Path(f"results/small/score/{key}/score.json")
        score = read_json(path)
        score["values"]["recall"] = 0.2 + number / 1000
        write_json(path, score)
    catalog["tables"]["pairs"]["metrics"] = [metric]
    claims = small_claims()
    for claim in claims["claims"].values():
        claim["kind"] = kind
        claim["compare"][0] = {**claim["compare"][0], "metric": metric}
        del claim["compare"][0]["published"]
    Path("config/claims.yaml").write_text(yaml.safe_dump(claims), encoding="utf-8")
    row = row_of(stage.build(catalog, "small", "pairs"), "A")
    assert heading in row and f"+ BAR {heading[-1]}" in row
    assert row["verdict"].text.startswith(verdict)
    if metric == "kid":
        gain = statistics.fmean(kid["a_bar"]) - statistics.fmean(kid["a"])
        assert row["difference"].text.startswith(f"{gain:.5f} ±".replace("-", "−"))


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("score/a_bar_s1/score.json", "dvc repro config/scales/small/dvc.yaml:score@a_bar_s1"),
        ("sample/a/speed.json", "dvc repro config/scales/small/dvc.yaml:sample@a"),
        ("train/a_s2/metrics.json", "dvc repro config/scales/small/dvc.yaml:train@a_s2"),
        ("reconstruct/kl/score.json", "dvc repro config/scales/small/dvc.yaml:reconstruct@kl"),
        ("reference/metrics.json", "dvc repro config/scales/small/dvc.yaml:reference"),
        ("dataset/metrics.json", "dvc repro config/scales/small/dvc.yaml:dataset"),
    ],
)
def test_missing_result_names_file_and_command(
    catalog: dict[str, Any], missing: str, command: str
) -> None:
    path = Path("results/small", missing)
    path.unlink()
    with pytest.raises(FileNotFoundError) as error:
        stage.build(catalog, "small", "pairs")
    assert str(error.value) == f"{path} is missing; `{command}` makes it"
    assert not Path("results/small/tables").exists()


def test_incomplete_score_names_what_it_lacks(catalog: dict[str, Any]) -> None:
    path = Path("results/small/score/a/score.json")
    score = read_json(path)
    del score["values"]["recall"]
    write_json(path, score)
    with pytest.raises(ValueError, match=r"score/a/score.json lacks recall"):
        stage.build(catalog, "small", "systems")


def test_scores_of_different_protocols_are_never_mixed(catalog: dict[str, Any]) -> None:
    path = Path("results/small/score/a_bar/score.json")
    score = read_json(path)
    score["protocol"]["extractor_sha256"] = "0" * 64
    write_json(path, score)
    with pytest.raises(ValueError, match="scores of a and a_bar cannot be compared"):
        stage.build(catalog, "small", "pairs")


def test_seeds_with_different_numbers_of_images_are_refused(catalog: dict[str, Any]) -> None:
    path = Path("results/small/score/a_s1/score.json")
    score = read_json(path)
    score["protocol"]["num_images"] = 1000
    write_json(path, score)
    with pytest.raises(ValueError, match=r"'a' is sampled with different numbers.*\[1000, 2000\]"):
        stage.build(catalog, "small", "pairs")


def test_unknown_names_list_the_choices(catalog: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="table must be one of systems, pairs; got 'main'"):
        stage.build(catalog, "small", "main")
    with pytest.raises(ValueError, match="scale must be one of small, large; got 'huge'"):
        stage.build(catalog, "huge", "pairs")


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


def test_inputs_are_exactly_what_a_table_reads(
    catalog: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    original = measured.read_json

    def spy(path: Path) -> Any:
        read.add(str(path))
        return original(path)

    monkeypatch.setattr(measured, "read_json", spy)
    stage.build(catalog, "small", "systems")
    assert read == set(inputs.table_inputs(catalog, "small", "systems"))


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


# The published numbers of the repository itself.


@pytest.mark.parametrize(
    ("reference", "metric", "value"),
    [
        ("BAR/main/bar_b", "fid", 1.56),
        ("BAR/main/bar_l", "is_mean", 301.1),
        ("BAR/main/bar_h", "recall", 0.68),
        ("BAR/main/mar_h", "seconds_per_image", 28.24),
        ("BAR/main/var_d30_re", "params", 2.0e9),
        ("BAR/gains/mar_l_bar", "fid", 1.56),
        ("BAR/gains/xar_b_bar", "fid", 1.63),
        ("BAR/ablation/projection_none", "fid", 1.70),
        ("BAR/ablation/objective_l_bar", "fid", 1.64),
        ("RAR/main/maskbit", "fid", 1.52),
        ("RAR/main/rar_xl", "params", 955e6),
        ("RAR/annealing/rar_a_000_000", "fid", 3.08),
        ("RAR/annealing/rar_a_400_400", "fid", 3.01),
        ("RAR/scan_orders/zcurve", "fid", 2.29),
        ("RAR/speed/mar_h", "images_per_second", 0.3),
    ],
)
def test_published_number_is_the_papers(reference: str, metric: str, value: float) -> None:
    number = published.look_up(NUMBERS, reference, metric)
    assert number is not None and number.value == pytest.approx(value, abs=1e-9)
    assert number.source


def test_contradictions_in_the_bar_paper_are_flagged() -> None:
    for reference, other in (
        ("BAR/main/bar_b", "1.63"),
        ("BAR/main/bar_l", "1.24"),
        ("BAR/gains/xar_b_bar", "1.56"),
    ):
        number = published.look_up(NUMBERS, reference, "fid")
        assert number is not None and other in number.flag


def test_every_reference_of_the_catalog_leads_to_one_number() -> None:
    for name, table in CATALOG["tables"].items():
        for row in table["rows"]:
            for key in ("published", "published_baseline"):
                if key in row:
                    numbers = [
                        published.look_up(NUMBERS, row[key], metric) for metric in table["metrics"]
                    ]
                    assert numbers[0] is not None, f"{name}: {row[key]}"


def test_tables_are_those_that_show_a_system_of_the_scale() -> None:
    assert inputs.tables_of(CATALOG, "imagenet512", extra=True) == ["bar_512"]
    assert inputs.tables_of(CATALOG, "ffhq256", extra=False) == ["bar_ffhq"]
    assert inputs.tables_of(CATALOG, "emoji128", extra=True) == ["bar_128"]
    for scale in ("tiny_text", "emoji", "t2i"):
        assert inputs.tables_of(CATALOG, scale, extra=True) == ["bar_t2i", "bar_alignment"]
    for scale in ("tiny", "cpu", "study", "imagenet256"):
        found = inputs.tables_of(CATALOG, scale, extra=False)
        tables = {name for name, table in CATALOG["tables"].items() if not table.get("extra")}
        elsewhere = {"bar_512", "bar_128", "bar_ffhq", "bar_t2i", "bar_alignment"}
        varied = {name for name in tables if "varies" in CATALOG["tables"][name]}
        if scale in ("tiny", "cpu"):
            elsewhere |= {"bar_control"}
        if scale != "study":
            elsewhere |= {"rar_few"} | varied - ({"mar_steps"} if scale == "tiny" else set())
        assert set(found) == tables - elsewhere
    assert "bases" in inputs.tables_of(CATALOG, "study", extra=True)


def test_rows_of_a_table_that_varies_a_setting_say_the_setting() -> None:
    part = CATALOG["study"]
    keys = {"guidance": "sampler.guidance", "iterations": "sampler.num_iter"}
    for name, table in CATALOG["tables"].items():
        for row in table["rows"] if "varies" in table else ():
            found = catalogs.evals_of(CATALOG, "study", row["system"])
            for key, entry in found.items():
                run = part["runs"][entry["run"]]
                if table["varies"] == "cells":
                    recipe = RECIPES / run["family"] / "recipes/model" / f"{run['model']}.yaml"
                    side = yaml.safe_load(recipe.read_text(encoding="utf-8"))["cells_per_side"]
                    given = run["overrides"] or f"model.cells_per_side={side}"
                    assert int(given.removeprefix("model.cells_per_side=")) ** 2 == int(
                        row["label"]
                    ), key
                elif table["varies"] == "budget":
                    recipe = RECIPES / run["family"] / "recipes/train" / f"{run['train']}.yaml"
                    steps = yaml.safe_load(recipe.read_text(encoding="utf-8"))["steps"]
                    given = run["overrides"] or f"train.steps={steps}"
                    assert given == f"train.steps={row['label']}", key
                else:
                    assert entry["sampling"] == f"{keys[table['varies']]}={row['label']}", key
            assert len(found) >= (3 if table["varies"] == "budget" else 1), name


def test_validation_seeds_score_nothing_but_tables_of_guidance() -> None:
    part = CATALOG["study"]
    trained = {entry["seed"] for entry in part["runs"].values()}
    validated = {key for key, entry in part["evals"].items() if entry["seed"] not in trained}
    guided = {
        row["system"]
        for table in CATALOG["tables"].values()
        if table.get("varies") == "guidance"
        for row in table["rows"]
    }
    assert {part["evals"][key]["system"] for key in validated} == guided
    assert {part["evals"][key]["seed"] for key in validated} == {100}
    elsewhere = set(
        ledger.claim_evals(ledger.load_claims(REPOSITORY / ledger.CLAIMS), CATALOG, "study")
    )
    for name, table in CATALOG["tables"].items():
        if table.get("varies") != "guidance":
            elsewhere |= set(inputs.table_evals(CATALOG, "study", name))
    elsewhere |= set(catalogs.headline_evals(CATALOG, "study").values())
    elsewhere |= set(catalogs.standard_evals(CATALOG, "study"))
    assert not validated & elsewhere


def test_tables_have_the_rows_that_the_papers_have() -> None:
    count = {name: len(table["rows"]) for name, table in CATALOG["tables"].items()}
    assert count["bar_main"] == 9 and count["bar_gains"] == 6
    assert count["rar_main"] == 11 and count["rar_annealing"] == 15
    assert count["rar_scan_orders"] == 6
    for name in CATALOG["tables"]:
        inputs.check_table(CATALOG, name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("P,main,a,fid,1.8,,paper P,", "there twice: P/main/a/fid"),
        ("P,main,new,fid,about 2,,paper P,", "not a number: P/main/new/fid"),
        ("P,main,new,fid,2,,,", "source is empty: P/main/new/fid"),
    ],
)
def test_bad_published_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "published.csv"
    path.write_text(PUBLISHED + line + "\n")
    with pytest.raises(ValueError, match=message):
        published.load(path)


def test_reference_that_leads_nowhere_is_named() -> None:
    with pytest.raises(
        ValueError, match="'BAR/main/bar_x' has no row; it must be paper/table/system, such as BAR/"
    ):
        published.look_up(NUMBERS, "BAR/main/bar_x", "fid")
    with pytest.raises(ValueError, match="both give params"):
        published.look_up(NUMBERS, ["RAR/main/mar_h", "MAR/readme/mar_h"], "params")


def test_layout_of_every_real_table_fits_its_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, CATALOG, "study")
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path)
    for name in CATALOG["tables"]:
        ready = stage.build(CATALOG, "study", name)
        assert all(len(row) == len(ready.columns) for row in ready.rows)
        for suffix in inputs.FORMATS:
            assert render.render(ready, suffix, REPOSITORY / inputs.TEMPLATES)
