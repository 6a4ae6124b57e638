"""The page of a scale: pictures inside it, tables narrow with the rest behind a switch."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from nextbasis.pipeline.catalog import Catalog, standard_evals, table_of
from nextbasis.report.answer import answers, tiles
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
from nextbasis.tables.layout import Layout
from nextbasis.tables.measured import check_made

GLOSSARY = Path("docs/glossary.md")
WIDEST = 1_600  # pixels of a picture; wider ones are made smaller
QUALITY = 85  # of WebP
ALWAYS = ("system", "group", "verdict", "difference")  # columns that are shown without the switch
VARIED = "Settings"  # the section of figures of tables that vary one
SECTIONS = {  # of figures: title, and what is in it with its caption
    "Pictures": {
        "same_noise.png": "Samples without and with a learned basis. A column has one class and "
        "one noise.",
        "contact_sheet.png": "Samples of every system, with its FID.",
        "neighbours.png": "Samples with their nearest training images: is anything memorised?",
    },
    "Bases": {
        "first_coefficients.png": "Test images from their first coefficients, the others zero.",
        "basis_maps.png": "Rows of each learned A as maps, beside their difference from the "
        "identity.",
        "energy_profile.png": "How much energy the first coefficients hold. The KLT is the bound "
        "of orthogonal bases.",
        "singular_values.png": "Singular values of A in training.",
        "smuggling.png": "Coefficients that give later ones away.",
        "klt_overlap.png": "How near the first rows of A are to the KLT's.",
    },
    VARIED: {},
    "Training": {
        "loss_curves.png": "Losses. Those of different families, or of an A of another scale, do "
        "not compare.",
        "fid_overview.png": "FID of every system and seed, beside the published one of ImageNet.",
        "features_pca.png": "Samples and real images on the principal axes of the features.",
    },
}


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

    Raises: FileNotFoundError naming a result that was not made, and what makes it.
    """
    names = tables_of(catalog, scale, extra)
    evals = standard_evals(catalog, scale)
    for name in names:
        evals |= table_evals(catalog, scale, name)
    check_made(scale, evals)
    ledger = pd.read_csv(_existing(result_folder(scale, "claims") / "claims.csv", scale))
    claims: list[dict[str, Any]] = ledger.to_dict("records")  # type: ignore[assignment]
    layouts = [build(catalog, scale, name) for name in names]
    made = [*FIGURES, *FEATURE_FIGURES, *model_figures_of(catalog, scale)]
    varied = varying_tables_of(catalog, scale, extra)
    lines = {f"{name}.png": f"{table_of(catalog, name)['title']}." for name in varied}
    sections = SECTIONS | {VARIED: lines}
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
        forest=_picture(
            scale,
            "claims.png",
            "Every measured difference of FID: the point, the "
            "interval that decides, and in grey as far as the published effect.",
        ),
        figures=[
            Figures(title, list(_pictures(scale, names, [*made, *lines])))
            for title, names in sections.items()
        ],
        tables=[
            (layout, [_is_shown(layout, name) for name in layout.columns]) for layout in layouts
        ],
        claims=claims,
        facts=layouts[0].header if layouts else [],
        terms=list(_terms()),
    )


def _subtitle(catalog: Catalog, scale: str, layouts: Sequence[Layout]) -> str:
    """Sizes, budgets, commit: what a reader must know before a number."""
    runs = dict.fromkeys(entry["run"] for entry in standard_evals(catalog, scale).values())
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


def _pictures(scale: str, names: dict[str, str], made: Sequence[str]) -> Iterator[Picture]:
    for name, caption in names.items():
        if name in made:
            yield _picture(scale, name, caption)


def _picture(scale: str, name: str, caption: str) -> Picture:
    """A figure as WebP, at most WIDEST pixels wide."""
    path = _existing(result_folder(scale, "figures") / name, scale)
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
