"""What is studied: the systems of every scale, and the tables, as config/ lists them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextbasis.support.words import listed, nearest
from nextbasis.support.yamls import read_keys

SCALES = Path("config/scales")  # a folder each
TABLES = Path("config/tables.yaml")
NEEDED = {"rank": int, "evals": dict}  # before the schema is asked
OF_PARTS = ("runs", "resampled", "evals", "heldouts", "diagnoses")  # what a part of a scale lists

Catalog = dict[str, Any]  # sections of the scales by name, and "tables"
Table = dict[str, Any]
Evals = dict[str, dict[str, Any]]


def load_catalog(root: Path = Path()) -> Catalog:
    """Read the catalogs of all scales below `root`, with their parts, and the tables.

    Raises: FileNotFoundError naming a file that is missing; ValueError naming one that is not YAML
    or is of another scale than its folder.
    """
    names = sorted(path.parent.name for path in (root / SCALES).glob("*/catalog.yaml"))
    if not names:
        raise FileNotFoundError(
            f"no {SCALES}/*/catalog.yaml below {root.resolve()}; run from the repository's root"
        )
    return assemble({name: _section(root, name) for name in names}, read_keys(root / TABLES))


def _section(root: Path, scale: str) -> dict[str, Any]:
    files = read_files(root, scale)
    for path, content in files.items():
        if content.get("scale") != scale:
            raise ValueError(
                f"{path}: scale must be the folder's name, {scale}; got '{content.get('scale')}'"
            )
        if path != catalog_file(scale) and content.get("part") != path.parent.name:
            raise ValueError(
                f"{path}: part must be the folder's name, {path.parent.name}; "
                f"got '{content.get('part')}'"
            )
    for key, kind in NEEDED.items():
        given = files[catalog_file(scale)].get(key)
        if not isinstance(given, kind):
            what = "a whole number" if kind is int else "entries by name"
            raise ValueError(f"{catalog_file(scale)}: {key} must be {what}; got '{given}'")
    return joined(scale, files)


def read_files(root: Path, scale: str) -> dict[Path, dict[str, Any]]:
    """What a scale's catalog says, by file: its own, and one for each of its parts.

    Raises: FileNotFoundError for a part that has no catalog; ValueError for one that the scale's
    own does not name.
    """
    file = catalog_file(scale)
    own = read_keys(root / file)
    parts = own.get("parts", [])
    found = sorted(path.parent.name for path in (root / file.parent).glob("*/catalog.yaml"))
    if unnamed := [name for name in found if name not in parts]:
        raise ValueError(f"{file}: parts must name each of its folders; it lacks {listed(unnamed)}")
    files = [catalog_file(scale, part) for part in parts]
    return {file: own} | {path: read_keys(root / path) for path in files}


def joined(scale: str, files: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    """A scale's section of the catalog: the entries of its parts, in their order, then its own.

    `part_of` tells by evaluation which part it stands in; it is empty for the scale's own.
    Raises: ValueError naming a file and an entry that another file has already, or a group of
    entries that is none.
    """
    own = files[catalog_file(scale)]
    if "parts" not in own:
        return own
    groups: dict[str, dict[str, Any]] = {group: {} for group in OF_PARTS}
    part_of: dict[str, str] = {}
    for part in [*own["parts"], ""]:
        file = catalog_file(scale, part)
        for group, entries in groups.items():
            _add(entries, files[file].get(group, {}), f"{file}: {group}")
        part_of |= dict.fromkeys(files[file]["evals"], part)
    return own | groups | {"part_of": part_of}


def _add(entries: dict[str, Any], more: Any, where: str) -> None:
    if not isinstance(more, dict):
        raise ValueError(f"{where} must be entries by name; got '{more}'")
    if twice := [name for name in more if name in entries]:
        raise ValueError(f"{where}.{twice[0]} stands in another part of the catalog already")
    entries.update(more)


def assemble(sections: Mapping[str, dict[str, Any]], tables: dict[str, Any]) -> Catalog:
    """The catalog of scales' sections, by their ranks, and tables.

    Evaluations get the system that they leave out.
    """
    found = {
        scale: section
        | {"evals": {key: {"system": key} | entry for key, entry in section["evals"].items()}}
        for scale, section in sorted(sections.items(), key=lambda item: item[1]["rank"])
    }
    return found | {"tables": tables}


def catalog_file(scale: str, part: str = "") -> Path:
    """The file that lists what a scale runs, or a part of it."""
    return SCALES / scale / part / "catalog.yaml"


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
