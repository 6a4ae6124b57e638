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

    Raises: FileNotFoundError naming a file that is missing; ValueError naming one that is not YAML,
    is of another scale or part than its folder, or has an entry that another one has.
    """
    names = sorted(path.parent.name for path in (root / SCALES).glob("*/catalog.yaml"))
    if not names:
        raise FileNotFoundError(
            f"no {SCALES}/*/catalog.yaml below {root.resolve()}; run from the repository's root"
        )
    sections = {name: joined(name, read_files(root, name)) for name in names}
    return assemble(sections, read_keys(root / TABLES))


def read_files(root: Path, scale: str) -> dict[Path, dict[str, Any]]:
    """What a scale's catalog says, by file: its own, and one for each of its parts.

    Raises: FileNotFoundError for a part that has no catalog; ValueError naming a file and a key
    that cannot be: another name than the folder's, parts that are not the folders, or a part that
    is scored or started otherwise than its scale.
    """
    file = catalog_file(scale)
    own = read_keys(root / file)
    _must(file, "scale", own.get("scale"), scale, "the folder's name")
    for key, kind in NEEDED.items():
        if not isinstance(own.get(key), kind):
            what = "a whole number" if kind is int else "entries by name"
            raise ValueError(f"{file}: {key} must be {what}; got '{own.get(key)}'")
    parts = own.get("parts", [])
    there = sorted(path.parent.name for path in (root / file.parent).glob("*/catalog.yaml"))
    if not isinstance(parts, list) or sorted(map(str, parts)) != there:
        raise ValueError(
            f"{file}: parts must be the list of its folders that have a catalog: "
            f"{listed(there) or 'there are none'}; got '{parts}'"
        )
    files = {file: own}
    for part in parts:
        path = catalog_file(scale, part)
        files[path] = content = read_keys(root / path)
        _must(path, "scale", content.get("scale"), scale, "the name of the folder above")
        _must(path, "part", content.get("part"), part, "the folder's name")
        for key in ("weights", "launch"):
            _must(path, key, content.get(key), own.get(key), f"as in {file}")
    return files


def _must(file: Path, key: str, given: Any, right: Any, why: str) -> None:
    if given != right:
        raise ValueError(f"{file}: {key} must be {why}, {right}; got '{given}'")


def joined(scale: str, files: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    """A scale's section of the catalog: the entries of its parts, in their order, then its own.

    `part_of` tells by name which part a run or evaluation stands in, if not in the scale's own.
    Raises: ValueError naming a file and a group that is no group of entries, or an entry that
    another file has already, with that file.
    """
    own = files[catalog_file(scale)]
    if "parts" not in own:
        return own
    groups: dict[str, dict[str, Any]] = {group: {} for group in OF_PARTS}
    part_of: dict[str, str] = {}
    for part in [*own["parts"], ""]:
        file = catalog_file(scale, part)
        for group, entries in groups.items():
            more = files[file].get(group, {})
            if not isinstance(more, dict):
                raise ValueError(f"{file}: {group} must be entries by name; got '{more}'")
            for name in more:
                if (other := part_of.setdefault(name, part)) != part:
                    raise ValueError(
                        f"{file}: {group}.{name} is a name that {catalog_file(scale, other)} has"
                    )
            entries.update(more)
    return own | groups | {"part_of": part_of}


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
