"""The pages that people open, in a real browser: offline, without errors, sortable, readable."""

import re
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from browser import LAPTOP, PHONE, find_browser, opened
from command import ROOT
from miniature import environment
from nextbasis.claims import __main__ as claims
from nextbasis.figures import __main__ as figures
from nextbasis.figures import lines
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.report import __main__ as pages
from nextbasis.tables import __main__ as tables
from nextbasis.tables.inputs import FEATURE_FIGURES, MODEL_FIGURES, varying_tables_of
from results_tree import build

GOLDEN = ROOT / "tests/golden/systems.html"


def column(page: Any, title: str) -> list[str]:
    """A column's cells, from top to bottom, without the marks of footnotes."""
    names = [button.text.split(" ↕")[0] for button in page.find_elements(By.CSS_SELECTOR, "th")]
    place = names.index(title) + 1
    cells = page.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({place})")
    return [re.sub(r"\n.*", "", cell.text) for cell in cells]


def press(page: Any, title: str) -> None:
    buttons = page.find_elements(By.CSS_SELECTOR, "th button")
    next(button for button in buttons if button.text.startswith(title)).click()


def overflow(page: Any) -> int:
    return page.execute_script("return document.documentElement.scrollWidth - innerWidth")


def background(page: Any) -> list[int]:
    """Red, green and blue behind the text."""
    style = "return getComputedStyle(document.body).backgroundColor"
    return [int(part) for part in re.findall(r"\d+", page.execute_script(style))[:3]]


def test_columns_sort_by_number_and_by_text() -> None:
    with opened(GOLDEN) as page:
        before = column(page, "FID ↓")
        press(page, "FID ↓")
        values = [cell for cell in column(page, "FID ↓") if cell[0].isdigit()]
        assert values == sorted(values, key=lambda text: float(text.split()[0]))
        assert column(page, "FID ↓")[: len(values)] == values  # what is no number comes last
        press(page, "FID ↓")
        assert column(page, "FID ↓")[: len(values)] == sorted(values, reverse=True)
        assert sorted(column(page, "FID ↓")) == sorted(before)
        press(page, "system")
        assert column(page, "system") == sorted(column(page, "system"), key=str.lower)


def test_cells_tell_their_protocol_and_source_to_mouse_and_finger() -> None:
    with opened(GOLDEN, PHONE) as page:
        hints = page.find_elements(By.CSS_SELECTOR, "td[title]")
        assert any("3 seeds, 2,000 images" in hint.get_attribute("title") for hint in hints)
        cell = next(hint for hint in hints if "paper P" in hint.get_attribute("title"))
        page.execute_script("arguments[0].scrollIntoView({inline: 'center'})", cell)
        cell.click()
        assert page.find_element(By.ID, "hint").text == cell.get_attribute("title")


@pytest.mark.parametrize("size", [PHONE, LAPTOP])
@pytest.mark.parametrize("name", ["systems", "pairs"])
def test_only_the_table_scrolls_sideways(name: str, size: tuple[int, int]) -> None:
    with opened(GOLDEN.with_name(f"{name}.html"), size) as page:
        assert overflow(page) <= 0


def test_light_and_dark_differ() -> None:
    with opened(GOLDEN) as page:
        assert min(background(page)) > 200
    with opened(GOLDEN, dark=True) as page:
        assert max(background(page)) < 60


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of made-up results of the scale tiny, in a clone of this repository."""
    find_browser()
    root = tmp_path_factory.mktemp("report") / "clone"
    run(ROOT, "git", "clone", "--quiet", str(ROOT), str(root))
    for name in run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").split():
        if (ROOT / name).is_file() and not name.startswith("results/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    catalog = load_catalog(root)
    build(root, catalog, "tiny", pictures=True)
    noise = np.random.default_rng(0).integers(0, 255, (64, 80), dtype=np.uint8)
    for key in catalog["tiny"]["encoders"]:
        Image.fromarray(noise).save(root / f"results/tiny/reconstruct/{key}/grid.png")
    for key in catalog["tiny"]["diagnoses"]:
        for name in ("grid.png", "rows.png"):
            Image.fromarray(noise).save(root / f"results/tiny/diagnose/{key}" / name)
    for name in FEATURE_FIGURES + MODEL_FIGURES:  # made-up results have no features and no models
        (root / "results/tiny/figures").mkdir(exist_ok=True)
        Image.fromarray(noise).save(root / "results/tiny/figures" / name)
    with chdir(root):  # in this process: to import the package two dozen times takes long
        claims.main(["--scale", "tiny"])
        figures.main(["--scale", "tiny"])
        for table in catalog["tables"]:
            tables.main(["--scale", "tiny", "--table", table])
        for table in varying_tables_of(catalog, "tiny", extra=True):
            lines.main(["--scale", "tiny", "--table", table])
        pages.main(["--scale", "tiny"])
    run(root, "snakemake", "--report", "report.html", "--config", "scale=tiny")
    return root / "report.html"


def run(folder: Path, *command: str) -> str:
    source = {"PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        command, cwd=folder, env=environment() | source, capture_output=True, text=True
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def wait(page: Any, condition: str) -> Any:
    return WebDriverWait(page, 20).until(lambda _: page.execute_script(f"return {condition}"))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "dark"), [((1400, 900), False), (PHONE, True)])
def test_the_page_opens_with_the_answer_and_needs_nothing_else(
    report: Path, size: tuple[int, int], dark: bool
) -> None:
    path = report.parent / "results/tiny/report.html"
    assert path.stat().st_size < 8e6
    with opened(path, size, dark) as page:
        heading = page.find_element(By.CSS_SELECTOR, "h1")
        assert "tiny" in heading.text and heading.rect["y"] < size[1] / 2
        assert page.find_element(By.CSS_SELECTOR, ".warning").text.startswith("Plumbing only")
        assert page.find_element(By.CSS_SELECTOR, ".answer").rect["y"] < size[1]
        assert overflow(page) <= 0 and (max(background(page)) < 60) == dark
        images = page.find_elements(By.CSS_SELECTOR, "img")
        assert len(images) > 10
        assert all(image.get_attribute("src").startswith("data:image/webp") for image in images)
        wide = "[...document.images].every(i => i.getBoundingClientRect().width <= innerWidth)"
        assert page.execute_script(f"return {wide}")
        hidden = page.find_elements(By.CSS_SELECTOR, "#bar_main + p + label + .scroll th.more")
        assert hidden and not hidden[0].is_displayed()
        page.execute_script("document.querySelector('#bar_main + p + label input').click()")
        assert hidden[0].is_displayed() or size == PHONE
        for link in page.find_elements(By.CSS_SELECTOR, "nav a, .tile a"):
            target = link.get_attribute("href").rpartition("#")[2]
            assert page.find_elements(By.ID, target), target
        sections = [part.get_attribute("id") for part in page.find_elements(By.TAG_NAME, "section")]
        assert sections[:3] == ["answer", "tables", "pictures"]
        assert not page.find_elements(By.CSS_SELECTOR, "#answer img")  # no claim is tested here


@pytest.mark.slow
def test_a_row_that_is_published_only_shows_the_published_number(report: Path) -> None:
    with opened(report.parent / "results/tiny/report.html") as page:
        for table, row in (("headline", "RAR-L 1.70 (published)"), ("bar_gains", "MAR-L")):
            rows = page.find_elements(By.CSS_SELECTOR, f"#{table} + p + label + .scroll tbody tr")
            (text,) = [one.text for one in rows if one.text.startswith(row)]
            assert text.count("(published)") == (1 if table == "headline" else 3)


@pytest.mark.slow
def test_a_picture_is_enlarged_by_a_click_and_closed_by_another(report: Path) -> None:
    with opened(report.parent / "results/tiny/report.html", PHONE) as page:
        picture = page.find_element(By.CSS_SELECTOR, "#training .enlarge")
        small = picture.find_element(By.TAG_NAME, "img").rect["width"]
        page.execute_script("arguments[0].click()", picture)
        large = page.find_element(By.CSS_SELECTOR, "dialog img")
        assert large.rect["width"] > 2 * small and overflow(page) <= 0
        large.click()
        assert not page.find_element(By.TAG_NAME, "dialog").is_displayed()


@pytest.mark.slow
def test_report_opens_with_the_ledger_on_top(report: Path) -> None:
    for size, dark in ((LAPTOP, False), (PHONE, True)):
        with opened(report, size, dark) as page:
            wait(page, "document.querySelector('.ledger tbody tr')")
            heading = page.find_element(By.CSS_SELECTOR, ".ledger h2")
            assert heading.is_displayed() and heading.rect["y"] < size[1]
            assert "not tested" in page.find_element(By.CSS_SELECTOR, ".ledger tbody").text
            assert overflow(page) <= 0
            assert (max(background(page)) < 60) == dark
            wait(page, "document.querySelector('#rulegraph svg, #rulegraph canvas')")


@pytest.mark.slow
def test_report_shows_every_result_and_its_links_resolve(report: Path) -> None:
    with opened(report) as page:
        wait(page, "document.querySelector('.ledger')")
        assert next(iter(page.execute_script("return Object.keys(categories).sort()"))) == "Claims"
        for path in page.execute_script("return Object.keys(results)"):
            entry = page.execute_script("return results[arguments[0]].data_uri", path)
            assert entry.startswith("data:"), path  # nothing is read from elsewhere
            if path.endswith(".png"):
                size = page.execute_async_script(
                    "const [uri, done] = arguments; const image = new Image();"
                    "image.onload = () => done(image.naturalWidth);"
                    "image.onerror = () => done(0); image.src = uri;",
                    entry,
                )
                assert size > 0, path
        for link in page.find_elements(By.CSS_SELECTOR, ".prose a"):
            assert link.get_attribute("href").startswith("https://")
        page.execute_script(
            "app.setView({content: 'html', contentPath:"
            "Object.entries(results).find(([path]) => path.endsWith('claims.html'))[1].data_uri})"
        )
        frame = wait(page, "document.querySelector('iframe')")
        page.switch_to.frame(frame)
        press(page, "verdict")
        assert column(page, "verdict at this scale")[0].startswith("not tested")


@pytest.mark.slow
def test_claims_of_unknown_systems_stop_snakemake_at_its_start(report: Path) -> None:
    path = report.parent / "config/claims.yaml"
    path.write_text(path.read_text().replace("than: mar_b,", "than: mar_z,", 1))
    done = subprocess.run(
        ["snakemake", "-n", "--config", "scale=tiny"],
        cwd=report.parent,
        env=environment() | {"PYTHONPATH": str(report.parent / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode
    assert "no scale evaluates the system 'mar_z'; add an eval" in done.stdout + done.stderr
