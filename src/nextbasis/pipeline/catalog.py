"""What is studied: the systems of every scale, and the tables, as config/ lists them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextbasis.support.words import listed, nearest
from nextbasis.support.yamls import read_keys

SCALES = Path("config/scales")  # a folder each
TABLES = Path("config/tables.yaml")
NEEDED = {"rank": int, "evals": dict}  # before the schema is asked

Catalog = dict[str, Any]  # sections of the scales by name, and "tables"
Table = dict[str, Any]
Evals = dict[str, dict[str, Any]]


def load_catalog(root: Path = Path()) -> Catalog:
    """Read the catalogs of all scales below `root`, and the tables.

    Raises: FileNotFoundError naming a file that is missing; ValueError naming one that is not YAML
    or is of another scale than its folder.
    """
    files = sorted((root / SCALES).glob("*/catalog.yaml"))
    if not files:
        raise FileNotFoundError(
            f"no {SCALES}/*/catalog.yaml below {root.resolve()}; run from the repository's root"
        )
    parts = {path.parent.name: read_keys(path) for path in files}
    for scale, part in parts.items():
        if part.get("scale") != scale:
            raise ValueError(
                f"{catalog_file(scale)}: scale must be the folder's name, {scale}; "
                f"got '{part.get('scale')}'"
            )
        for key, kind in NEEDED.items():
            if not isinstance(part.get(key), kind):
                what = "a whole number" if kind is int else "entries by name"
                raise ValueError(
                    f"{catalog_file(scale)}: {key} must be {what}; got '{part.get(key)}'"
                )
    return assemble(parts, read_keys(root / TABLES))


def assemble(parts: Mapping[str, dict[str, Any]], tables: dict[str, Any]) -> Catalog:
    """The catalog of scales' parts, by their ranks, and tables.

    Evaluations get the system that they leave out.
    """
    found = {
        scale: part
        | {"evals": {key: {"system": key} | entry for key, entry in part["evals"].items()}}
        for scale, part in sorted(parts.items(), key=lambda item: item[1]["rank"])
    }
    return found | {"tables": tables}


def catalog_file(scale: str) -> Path:
    """The file that lists what a scale runs."""
    return SCALES / scale / "catalog.yaml"


def default_scale(root: Path = Path()) -> str:
    """The scale whose stages the dvc.yaml at the top makes."""
    return str(read_keys(root / "catalog.yaml")["scale"])


def scales(catalog: Catalog) -> list[str]:
    """Names of the catalog's scales, by their ranks."""
    return [name for name in catalog if name != "tables"]


def section(catalog: Catalog, scale: str) -> dict[str, Any]:
    """The catalog's section of one scale.

    Raises: ValueError naming the scales there are.
    """
    if scale not in scales(catalog):
        raise ValueError(f"scale must be one of {listed(scales(catalog))}; got '{scale}'")
    return catalog[scale]


def table_of(catalog: Catalog, name: str) -> Table:
    """One table's entry.

    Raises: ValueError naming the tables there are.
    """
    tables = catalog.get("tables", {})
    if name not in tables:
        raise ValueError(f"table must be one of {nearest(tables, name)}; got '{name}'")
    return tables[name]


def evaluation_of(catalog: Catalog, scale: str, key: str) -> dict[str, Any]:
    """One evaluation's entry.

    Raises: ValueError naming the evaluations there are.
    """
    evals = section(catalog, scale)["evals"]
    if key not in evals:
        raise ValueError(
            f"no evaluation '{key}' at scale {scale}; choose among {nearest(evals, key)}"
        )
    return evals[key]


def evals_of(catalog: Catalog, scale: str, system: str) -> Evals:
    """The evaluations of one system at one scale, one a seed; none where it is not run there."""
    name, part = _own_name(catalog, scale, system), section(catalog, scale)
    return {key: entry for key, entry in part["evals"].items() if entry["system"] == name}


def _own_name(catalog: Catalog, scale: str, system: str) -> str:
    """The name that a system's evaluations have, of one that may be named otherwise in tables."""
    found: str = section(catalog, scale).get("same", {}).get(system, system)
    return found


def is_awaited(catalog: Catalog, scale: str, system: str) -> bool:
    """Whether a system waits for results, at a scale that is shown half done (`tables.sofar`)."""
    awaited = section(catalog, scale).get("awaited", ())
    return _own_name(catalog, scale, system) in awaited


def evals_made(catalog: Catalog, scale: str, system: str) -> Evals:
    """The evaluations of one system at one scale; none where it waits for results."""
    return {} if is_awaited(catalog, scale, system) else evals_of(catalog, scale, system)


def standard_evals(catalog: Catalog, scale: str) -> Evals:
    """The evaluations of a scale that its overviews show.

    They show none that is marked extra, which is made on request only, and none of a system that
    stands in no table but ones that vary a setting, whose figures show it.
    """
    varied: set[str] = set()
    others: set[str] = set()
    for table in catalog["tables"].values():
        (varied if "varies" in table else others).update(systems_of(table))
    hidden = varied - others
    return {
        key: entry
        for key, entry in section(catalog, scale)["evals"].items()
        if not entry.get("extra") and entry["system"] not in hidden
    }


def headline_evals(catalog: Catalog, scale: str) -> dict[str, str]:
    """System -> key of its evaluation with the lowest seed, of the scale's headline systems."""
    evals = standard_evals(catalog, scale)
    found: dict[str, str] = {}
    for key, entry in sorted(evals.items(), key=lambda item: item[1]["seed"]):
        if entry.get("headline"):
            found.setdefault(entry["system"], key)
    return {
        entry["system"]: found[entry["system"]] for entry in evals.values() if entry.get("headline")
    }


def systems_of(table: Table) -> list[str]:
    """Every system a table names, once, in the order of its rows."""
    names = [row.get(key) for row in table["rows"] for key in ("baseline", "system")]
    return list(dict.fromkeys(name for name in names if name is not None))
