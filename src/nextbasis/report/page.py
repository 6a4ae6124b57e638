"""The page of a scale: pictures inside it, tables narrow with the rest behind a switch."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from nextbasis.figures import lines
from nextbasis.figures.forest import shown_of
from nextbasis.pipeline.catalog import Catalog, is_awaited, section, standard_evals
from nextbasis.report.answer import answers, tiles
from nextbasis.report.captions import FOREST, SECTIONS, VARIED
from nextbasis.support.files import read_json, result_folder
from nextbasis.tables.__main__ import build
from nextbasis.tables.header import warning
from nextbasis.tables.inputs import (
    FEATURE_FIGURES,
    FIGURES,
    TEMPLATES,
    model_figures_of,
    table_evals,
    tables_of,
    varying_tables_of,
)
from nextbasis.tables.layout import AXES, NOTHING, PUBLISHED_ONLY, Cell, Layout
from nextbasis.tables.measured import check_made

GLOSSARY = Path("docs/glossary.md")
WIDEST = 1_600  # pixels of a picture; wider ones are made smaller
QUALITY = 85  # of WebP
# Columns that are shown without the switch.
ALWAYS = ("system", *AXES.values(), "group", "verdict", "difference")


@dataclass(frozen=True)
class Picture:
    """A figure inside the page."""

    name: str
    caption: str
    source: str  # a data URI
    width: int
    height: int


@dataclass(frozen=True)
class Figures:
    """A section of figures."""

    title: str
    pictures: list[Picture]


def render(catalog: Catalog, scale: str, extra: bool) -> str:
    """The page as HTML that needs no other file.

    Of a catalog with a scale half done (tables.sofar.so_far) the page names the systems and
    pictures that are not there.

    Raises: FileNotFoundError naming a result that was not made, and what makes it.
    """
    names = tables_of(catalog, scale, extra)
    half = "awaited" in section(catalog, scale)
    if not half:
        evals = standard_evals(catalog, scale)
        for name in names:
            evals |= table_evals(catalog, scale, name)
        check_made(scale, evals)
    ledger, comparisons = (
        pd.read_csv(_existing(result_folder(scale, "claims") / name, scale))
        for name in ("claims.csv", "comparisons.csv")
    )
    claims: list[dict[str, Any]] = ledger.to_dict("records")  # type: ignore[assignment]
    layouts = [build(catalog, scale, name) for name in names]
    sections = _sections(catalog, scale, extra)
    forest = {} if shown_of(comparisons).empty else {"claims.png": FOREST}
    wanted = [name for captions in (forest, *sections.values()) for name in captions]
    absent = [name for name in wanted if half and not _path(scale, name).is_file()]
    dataset = read_json(_existing(result_folder(scale, "dataset") / "index.json", scale))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES / "report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    return environment.get_template("page.html.j2").render(
        scale=scale,
        dataset=dataset,
        warning=warning(catalog, scale),
        subtitle=_subtitle(catalog, scale, layouts),
        answers=answers(claims),
        tiles=tiles(claims),
        forest=next(_pictures(scale, forest, absent), None),
        figures=[
            Figures(title, list(_pictures(scale, captions, absent)))
            for title, captions in sections.items()
        ],
        absent=absent,
        tables=[
            (layout, _rows(layout), [_is_shown(layout, name) for name in layout.columns])
            for layout in layouts
        ],
        claims=claims,
        facts=layouts[0].header if layouts else [],
        terms=list(_terms()),
    )


def _sections(catalog: Catalog, scale: str, extra: bool) -> dict[str, dict[str, str]]:
    """Title of a section -> the figures that the scale has in it, with their captions."""
    made = [*FIGURES, *FEATURE_FIGURES, *model_figures_of(catalog, scale)]
    found = {
        title: {name: caption for name, caption in captions.items() if name in made}
        for title, captions in SECTIONS.items()
    }
    varied = varying_tables_of(catalog, scale, extra)
    found[VARIED] = {f"{name}.png": lines.caption(catalog, scale, name) for name in varied}
    return found


def _subtitle(catalog: Catalog, scale: str, layouts: Sequence[Layout]) -> str:
    """Sizes, budgets, commit: what a reader must know before a number."""
    evals = standard_evals(catalog, scale).values()
    made = (entry for entry in evals if not is_awaited(catalog, scale, entry["system"]))
    runs = dict.fromkeys(entry["run"] for entry in made)
    paths = (result_folder(scale, "train", run) / "metrics.json" for run in runs)
    trained = [read_json(_existing(path, scale)) for path in paths]
    facts = dict(layouts[0].header) if layouts else {}
    parts = [facts.get("dataset", "").split(" (")[0]]
    for key, what in (("parameters", "parameters"), ("steps", "steps of training")):
        if numbers := [one[key] for one in trained]:
            low, high = min(numbers), max(numbers)
            parts.append(f"{low:,} to {high:,} {what}" if low < high else f"{low:,} {what}")
    parts += [facts.get("scores made on", ""), facts.get("made by", "")]
    return " · ".join(part for part in parts if part)


def _is_shown(layout: Layout, column: str) -> bool:
    """Whether a column is shown without the switch: names, the first metric, what decides."""
    first = next((name for name in layout.columns if name[-1] in "↓↑"), "")
    return column in ALWAYS or column == first or column.startswith("+ BAR ↓")


def _rows(layout: Layout) -> list[list[Cell]]:
    """The rows; where one is published only, its published numbers stand in the shown columns."""
    places = {name: place for place, name in enumerate(layout.columns)}
    beside = {
        places[name]: places[published]
        for name in layout.columns
        if _is_shown(layout, name) and (published := f"{name.rstrip(' ↓↑')}, published") in places
    }
    rows = [list(row) for row in layout.rows]
    for row in rows:
        if any(cell.text == PUBLISHED_ONLY for cell in row):
            for place, other in beside.items():
                if row[other].text != NOTHING:
                    row[place] = replace(row[other], text=f"{row[other].text} (published)")
    return rows


def _pictures(scale: str, captions: dict[str, str], absent: Sequence[str]) -> Iterator[Picture]:
    for name, caption in captions.items():
        if name not in absent:
            yield _picture(scale, name, caption)


def _path(scale: str, name: str) -> Path:
    """The file of a figure."""
    return result_folder(scale, "figures") / name


def _picture(scale: str, name: str, caption: str) -> Picture:
    """A figure as WebP, at most WIDEST pixels wide."""
    path = _existing(_path(scale, name), scale)
    with Image.open(path) as image:
        picture = image.convert("RGB")
    if picture.width > WIDEST:
        height = round(picture.height * WIDEST / picture.width)
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=4)
    data = base64.b64encode(stream.getvalue()).decode()
    source = f"data:image/webp;base64,{data}"
    return Picture(name, caption, source, picture.width, picture.height)


def _terms() -> Iterator[tuple[str, str]]:
    """Terms and their meanings: the rows of the table of docs/glossary.md."""
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 2 and cells[0] not in ("term", ":--"):
            yield cells[0], cells[1]


def _existing(path: Path, scale: str) -> Path:
    if not path.is_file():
        command = f"snakemake --cores 2 --config scale={scale}"
        raise FileNotFoundError(f"{path} is missing; `{command}` makes it")
    return path
