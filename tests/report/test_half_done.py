"""A scale half done: what is asked for of it ends in one line that counts what is missing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nextbasis.claims import __main__ as claims
from nextbasis.figures import __main__ as figures
from nextbasis.report import __main__ as report
from nextbasis.tables import __main__ as tables
from nextbasis.tables.sofar import half_done, so_far
from results_tree import REPOSITORY, build, small_catalog, small_claims, write_catalog, write_claims


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of a scale of eight evaluations without the scores of two of them."""
    catalog = small_catalog()
    build(tmp_path, catalog, "small", pictures=True)
    write_catalog(tmp_path, catalog)
    write_claims(tmp_path, small_claims())
    for name in ("workflow", "docs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)
    for key in ("a_s1", "a_s2"):
        Path(f"results/small/score/{key}/score.json").unlink()


@pytest.mark.parametrize(
    ("main", "words", "needed"),
    [
        (tables.main, ["--table", "pairs"], 8),
        (tables.main, ["--table", "systems"], 4),
        (claims.main, [], 8),
        (figures.main, [], 8),
        (report.main, [], 8),
    ],
)
def test_half_a_scale_names_what_it_lacks_and_the_command(
    main: Callable[[list[str]], None],
    words: list[str],
    needed: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--scale", "small", *words])
    (line,) = capsys.readouterr().err.splitlines()
    start = f"error: 2 of {needed} evaluations that this needs are missing, the first of them "
    assert line.startswith(f"{start}results/small/score/a_s1/score.json; ")
    assert "`snakemake --cores 2 --config scale=small` makes them" in line
    assert "`nextbasis status --scale small` tells how long" in line


def test_what_is_made_on_request_only_is_asked_for_so(capsys: pytest.CaptureFixture[str]) -> None:
    catalog = small_catalog()
    catalog["small"]["evals"]["a_s2"]["extra"] = True
    for table in catalog["tables"].values():
        table["extra"] = True
    write_catalog(Path(), catalog)
    assert half_done(so_far(catalog, "small"), "small").startswith("Half done: ")
    with pytest.raises(SystemExit):
        report.main(["--scale", "small", "--extra"])
    assert "`snakemake --cores 2 --config scale=small extra=true`" in capsys.readouterr().err


def test_page_of_half_a_scale_names_the_systems_and_pictures_it_lacks() -> None:
    claims.main(["--scale", "small", "--so-far"])
    figures.main(["--scale", "small", "--only", "claims.png"])
    report.main(["--scale", "small", "--so-far"])
    page = Path("results/small/report.html").read_text(encoding="utf-8")
    assert "Half done: 3 of 4 systems of this scale are made" in page
    (note,) = re.findall(r"<p class=\"note\">Pictures that are not here.*?</p>", page)
    assert "contact_sheet.png" in note and "claims.png" not in note
    assert page.count("data:image/webp;base64,") == 1
    figures.main(["--scale", "small", "--only", "contact_sheet.png"])
    report.main(["--scale", "small", "--so-far"])
    page = Path("results/small/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64,") == 2 and "contact_sheet.png" not in page
