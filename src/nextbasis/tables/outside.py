"""Samples that the pipeline did not make, as a table of their own beside what was published.

It needs no result of the scale but the scores that `nextbasis score` wrote, so a checkpoint can be
compared with its paper before anything is trained.
"""

from typing import Any

from nextbasis.pipeline.catalog import Catalog, section
from nextbasis.tables import external, header, layout, measured, published
from nextbasis.tables.inputs import EXTERNAL, PUBLISHED

NAME = "outside"
METRICS = ("fid", "is_mean", "precision", "recall")
CAPTION = (
    "Samples made outside this pipeline and scored by it, beside what was published of a system of "
    "that name. The rows name their source and their reference."
)


def build(catalog: Catalog, scale: str) -> layout.Layout:
    """Lay out all rows of config/external.yaml of one scale.

    Raises: ValueError for an unknown scale, if there is no row, or if rows differ in protocol;
    FileNotFoundError for a score that is missing.
    """
    section(catalog, scale)
    rows = external.load(scale)
    if not rows:
        raise ValueError(f"{EXTERNAL} has no row of scale {scale}; `nextbasis score` adds one")
    protocol, numbers = rows[0].protocol, published.load(PUBLISHED)
    external.check_comparable(rows, protocol)
    table: dict[str, Any] = {"title": "Samples from outside", "kind": "systems"}
    table |= {"caption": CAPTION, "metrics": list(METRICS)}
    table["rows"] = [
        {"label": row.name} | ({"published": found} if (found := reference(row, numbers)) else {})
        for row in rows
    ]
    name = str(protocol["extractor"])
    facts = [("scale", scale), ("protocol", str(protocol["name"]))]
    facts += [("extractor", f"{name}, SHA-256 {protocol['extractor_sha256'][: header.SHORT]}")]
    facts += [("made by", header.commit())]
    with_table = catalog | {"tables": catalog["tables"] | {NAME: table}}
    none_here = measured.collect(catalog, scale, [])
    heading = (facts, header.warning(catalog, scale))
    return layout.Builder(with_table, scale, NAME, (none_here, numbers), heading, rows).build()


def reference(row: external.External, numbers: published.Numbers) -> str:
    """The reference paper/table/system of the row's name that gives most of METRICS, or nothing."""
    given: dict[str, int] = {}
    for name, metric in numbers:
        if metric in METRICS and external.slug(name.rpartition("/")[2]) == external.slug(row.name):
            given[name] = given.get(name, 0) + 1
    return max(given, key=lambda name: given[name]) if given else ""
