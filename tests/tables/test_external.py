"""Rows measured on samples from outside stand in the tables, where they may."""

from pathlib import Path
from typing import Any

import pytest

from nextbasis.support.files import write_json
from nextbasis.tables import __main__ as stage
from nextbasis.tables import external, inputs, sofar
from nextbasis.tables.layout import Cell, Layout
from nextbasis.tables.measured import ANALYTIC
from results_tree import PROTOCOL


def add(row: str, scale: str = "small", **changes: Any) -> Path:
    path = Path(f"results/{scale}/external/{external.slug(row)}/score.json")
    protocol = PROTOCOL | {"num_images": 50_000, "reference": "all of them"} | changes
    write_json(
        path, {"values": {"fid": 3.25, "fid_se": 0.03, "is_mean": 9.5}, "protocol": protocol}
    )
    told = {"scale": scale, "score": str(path), "source": "their authors", "sha256": "c" * 64}
    external.add_row(row, told)
    return path


def row_of(ready: Layout, label: str) -> dict[str, Cell]:
    position = ready.columns.index("system")
    row = next(row for row in ready.rows if row[position].text == label)
    return dict(zip(ready.columns, row, strict=True))


@pytest.mark.parametrize("name", ["Other_people", "other people", "other"])
def test_row_of_that_name_is_measured_instead_of_published_only(
    catalog: dict[str, Any], name: str
) -> None:
    before = row_of(stage.build(catalog, "small", "systems"), "Other_people")
    assert before["FID ↓"].text == "published only"
    add(name)
    ready = stage.build(catalog, "small", "systems")
    row = row_of(ready, "Other_people")
    assert row["FID ↓"].text == "3.25 ± 0.03 SE (1)" and row["images"].text == "50,000"
    assert row["IS ↑"].text == "9.50" and row["precision ↑"].text == "–"
    assert row["FID, published"] == before["FID, published"]
    assert row["what it is"].text == "samples from their authors; reference: all of them"
    assert len(ready.rows) == len(catalog["tables"]["systems"]["rows"])
    tidy = next(line for line in ready.tidy if line["row"] == "Other_people")
    assert tidy["measured"] == 3.25 and tidy["spread_is"] == ANALYTIC


def test_name_of_no_row_gets_one_of_its_own(catalog: dict[str, Any]) -> None:
    add("VAR-d30")
    ready = stage.build(catalog, "small", "systems")
    assert row_of(ready, "VAR-d30")["FID ↓"].text == "3.25 ± 0.03 SE (1)"
    assert row_of(ready, "Other_people")["FID ↓"].text == "published only"
    assert len(stage.build(catalog, "small", "pairs").rows) == 2


def test_what_the_pipeline_measures_is_not_replaced(catalog: dict[str, Any]) -> None:
    before = stage.build(catalog, "small", "systems").rows
    add("A & co")
    add("VAR-d30", scale="large")
    assert stage.build(catalog, "small", "systems").rows == before


def test_what_is_not_measured_yet_has_room(catalog: dict[str, Any]) -> None:
    for path in Path("results/small/score").glob("a*/score.json"):
        path.unlink()
    add("A & co")
    row = row_of(stage.build(sofar.so_far(catalog, "small"), "small", "systems"), "A & co")
    assert row["FID ↓"].text == "3.25 ± 0.03 SE (1)"


def test_a_table_of_other_metrics_has_no_row_for_it(catalog: dict[str, Any]) -> None:
    rows = len(stage.build(catalog, "small", "systems").rows)
    catalog["tables"]["systems"]["metrics"] = ["images_per_second"]
    add("VAR-d30")
    assert len(stage.build(catalog, "small", "systems").rows) == rows


def test_other_protocols_cannot_stand_in_the_table(catalog: dict[str, Any]) -> None:
    add("VAR-d30", reference_sha256="d" * 64)  # another reference is told, not refused
    stage.build(catalog, "small", "systems")
    for changes, message in (
        ({"name": "adm"}, "its name is adm, the table's synthetic-v0"),
        ({"extractor_sha256": "0" * 64}, "its extractor_sha256 is 000"),
    ):
        add("VAR-d30", **changes)
        with pytest.raises(ValueError, match=f"row 'VAR-d30' cannot stand .* {message}"):
            stage.build(catalog, "small", "systems")


def test_inputs_name_the_score_and_its_absence_is_told(catalog: dict[str, Any]) -> None:
    path = add("VAR-d30")
    wanted = inputs.table_inputs(catalog, "small", "systems")
    assert {"config/external.yaml", str(path)} <= set(wanted)
    assert str(path) not in inputs.table_inputs(catalog, "large", "systems")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="row 'VAR-d30' is missing; run `nextbasis score`"):
        stage.build(catalog, "small", "systems")
    Path("config/external.yaml").write_text("rows: {X: {scale: small}}", encoding="utf-8")
    with pytest.raises(ValueError, match="row 'X' has no score, source, sha256"):
        external.read_rows()
