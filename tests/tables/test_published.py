"""The repository's own tables: the papers' numbers, and the rows that the papers have."""

from pathlib import Path

import pytest
import yaml

from nextbasis.claims import __main__ as ledger
from nextbasis.pipeline import catalog as catalogs
from nextbasis.tables import __main__ as stage
from nextbasis.tables import inputs, published, render
from results_tree import PUBLISHED, build

REPOSITORY = Path(__file__).parents[2]
CATALOG = catalogs.load_catalog(REPOSITORY)
RECIPES = REPOSITORY / "src/nextbasis/families"
NUMBERS = published.load(REPOSITORY / inputs.PUBLISHED)


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
