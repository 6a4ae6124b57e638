"""The catalog's shape, and that every name in it leads somewhere; what its headline rows need."""

from pathlib import Path
from typing import Any

from nextbasis.families import find, names
from nextbasis.pipeline.catalog import (
    SCALES,
    TABLES,
    Catalog,
    Table,
    evals_of,
    read_files,
    scales,
    systems_of,
    table_of,
)
from nextbasis.pipeline.stagelist import FILE
from nextbasis.scoring.facts import METRICS
from nextbasis.support.words import listed, nearest
from nextbasis.support.yamls import read_keys
from nextbasis.tokenizers import kinds

Section = dict[str, Any]
SCHEMAS = Path("workflow/schemas")


def headline(section: Section) -> dict[str, set[str]]:
    """By stage kind, the keys that the headline evaluations need, upstream ones included."""
    evals = {key: entry for key, entry in section["evals"].items() if entry.get("headline")}
    runs = {entry["run"] for entry in evals.values()}
    encoders = {section["runs"][run]["tokens"] for run in runs}
    return {
        "text": set(section["texts"]),
        "tokenizer": encoders,
        "rebase": encoders,
        "reconstruct": encoders,
        "tokens": encoders,
        "train": runs,
        "sample": set(evals),
        "score": set(evals),
        "diagnose": set(),
        "heldout": set(),
    }


def check_files(scale: str) -> None:
    """Check keys and kinds of values of a scale's catalog and of its parts, and the parts' links.

    Raises: ValueError naming the file, and of each mistake the entry and what is wrong.
    """
    for file, content in read_files(Path(), scale).items():
        check_shape(content, "catalog", file)
        link = file.with_name(FILE)
        if "part" in content and not link.is_file():
            raise ValueError(f"{link} is missing: `ln -s ../../../../dvc.yaml {link}` makes it")


def check_shape(content: Any, schema: str, file: Path) -> None:
    """Check keys and kinds of values of a file of config/ by a schema of workflow/schemas.

    Raises: ValueError naming the file, and of each mistake the entry and what is wrong.
    """
    import jsonschema  # here: a tenth of a second, which most commands can do without

    validator = jsonschema.Draft202012Validator(read_keys(SCHEMAS / f"{schema}.schema.yaml"))
    problems = [
        ": ".join(filter(None, [".".join(map(str, error.absolute_path)), error.message]))
        for error in validator.iter_errors(content)
    ]
    if problems:
        raise ValueError(f"{file}:\n  " + listed(problems, "\n  "))


def check_references(catalog: Catalog) -> None:
    """Check every name that the catalog uses; a schema cannot express this.

    Raises: ValueError listing each wrong name with the choices.
    """
    problems = [
        f"{scale}.{problem}"
        for scale in scales(catalog)
        for problem in _problems_of_scale(catalog[scale])
    ]
    for name in catalog.get("tables") or {}:
        try:
            check_table(catalog, name)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(f"{SCALES}, {TABLES}:\n  " + listed(problems, "\n  "))


def check_table(catalog: Catalog, name: str) -> None:
    """Check that a table's rows have labels and its metrics exist, and that each of its systems is
    evaluated at one scale at least, and not as an extra unless the table is one; of a table that
    varies a setting its lines, too.

    Raises: ValueError naming table and metric, row or system.
    """
    table = table_of(catalog, name)
    for row in table["rows"]:
        if "label" not in row:
            raise ValueError(f"tables.{name} in {TABLES}: a row has no label, only {listed(row)}")
    for metric in table["metrics"]:
        if metric not in METRICS:
            raise ValueError(
                f"tables.{name}.metrics in {TABLES} must be of {nearest(METRICS, metric)}; "
                f"got '{metric}'"
            )
    if "varies" in table:
        _check_lines(name, table)
    for system in systems_of(table):
        found = [evals_of(catalog, scale, system) for scale in scales(catalog)]
        extra = [key for evals in found for key, entry in evals.items() if entry.get("extra")]
        if extra and not table.get("extra"):
            raise ValueError(
                f"tables.{name}: the system '{system}' is evaluated as an extra ({extra[0]}), so "
                "only a table with 'extra: true' can show it"
            )
        if not any(found):
            raise ValueError(
                f"tables.{name}: no scale evaluates the system '{system}'; add an eval with "
                f"'system: {system}' to a catalog below {SCALES} or correct the row"
            )


def _check_lines(name: str, table: Table) -> None:
    """Check that the rows of a table that varies a setting are lines: a number each, none twice.

    Raises: ValueError naming table and row.
    """
    seen: set[tuple[str, float]] = set()
    for row in table["rows"]:
        where = f"tables.{name}: the row '{row['label']}' of '{row.get('group')}'"
        try:
            point = (row["group"], float(row["label"]))
        except (KeyError, ValueError):
            raise ValueError(
                f"{where} needs a group and, as its label, a number, since the table varies "
                f"{table['varies']}"
            ) from None
        if point in seen:
            raise ValueError(f"{where} stands there twice")
        seen.add(point)


def _problems_of_scale(section: Section) -> list[str]:
    return (
        _problems_of_encoders(section)
        + _problems_of_runs(section)
        + _problems_of_evals(section)
        + _problems_of_users("heldouts", section["heldouts"], section["runs"])
        + _problems_of_diagnoses(section)
        + _problems_of_names(section)
    )


def _problems_of_encoders(section: Section) -> list[str]:
    tokenizers, rebased = section["tokenizers"], section["rebased"]
    problems = [
        f"rebased.{key}: the name is a tokenizer's already" for key in rebased if key in tokenizers
    ]
    if set(section["encoders"]) != set(tokenizers) | set(rebased):
        problems.append("encoders: must be all tokenizers and all rebased")
    for key, entry in tokenizers.items():
        problems += _unknown(f"tokenizers.{key}", "coder", entry["coder"], kinds.names())
    for key, entry in rebased.items():
        where, parent = f"rebased.{key}", entry["parent"]
        problems += _unknown(where, "parent", parent, tokenizers)
        problems += _other_coder(where, entry, "parent", tokenizers.get(parent))
    return problems


def _problems_of_runs(section: Section) -> list[str]:
    problems = []
    for key, entry in section["runs"].items():
        problems += _unknown(f"runs.{key}", "family", entry["family"], names())
        tokens, encoders = entry["tokens"], section["encoders"]
        problems += _unknown(f"runs.{key}", "tokens", tokens, encoders)
        problems += _other_coder(f"runs.{key}", entry, "tokens", encoders.get(tokens))
        problems += _unknown(f"runs.{key}", "captions", entry["captions"], section["texts"])
        if entry["run"] != key:
            problems.append(f"runs.{key}: run must be the entry's own name, got '{entry['run']}'")
    return problems


def _problems_of_evals(section: Section) -> list[str]:
    return _problems_of_users("evals", section["evals"], section["runs"])


def _problems_of_diagnoses(section: Section) -> list[str]:
    problems = _problems_of_users("diagnoses", section["diagnoses"], section["runs"])
    for key, entry in section["diagnoses"].items():
        if entry["family"] in names() and not (family := find(entry["family"])).has_basis:
            problems.append(
                f"diagnoses.{key}: {family.title} models {family.tokens}, which have no basis"
            )
    return problems


def _problems_of_users(group: str, users: Section, runs: Section) -> list[str]:
    """What is wrong in entries that name a run and repeat its family and tokens."""
    problems = []
    for key, entry in users.items():
        unknown = _unknown(f"{group}.{key}", "run", entry["run"], runs)
        problems += unknown
        if unknown:
            continue
        name, run = entry["run"], runs[entry["run"]]
        problems += [
            f"{group}.{key}: {field} is '{entry[field]}' but run '{name}' has '{run[field]}'"
            for field in ("family", "tokens", "coder", "captions")
            if entry[field] != run[field]
        ]
    return problems


def _problems_of_names(section: Section) -> list[str]:
    systems = {entry["system"] for entry in section["evals"].values()}
    problems = []
    for name, system in section.get("same", {}).items():
        problems += _unknown(f"same.{name}", "system", system, systems)
        if name in systems:
            problems.append(f"same.{name}: evaluations have this system already")
    return problems


def _other_coder(where: str, entry: Section, field: str, made: Section | None) -> list[str]:
    """What is wrong if an entry's coder is not that of the encoder that it names."""
    if made is None or entry["coder"] == made["coder"]:
        return []
    return [
        f"{where}: coder is '{entry['coder']}' but {field} '{entry[field]}' has '{made['coder']}'"
    ]


def _unknown(where: str, field: str, value: str, choices: Any) -> list[str]:
    if value in choices:
        return []
    return [f"{where}: no {field} '{value}'; choose one of {nearest(sorted(choices), value)}"]
