"""Checks that every name in the catalog leads somewhere; what its headline rows need."""

from typing import Any

from nextbasis.families import find
from nextbasis.tables.inputs import CATALOG, Catalog, check_table, scales

Section = dict[str, Any]


def headline(section: Section) -> dict[str, set[str]]:
    """By stage kind, the keys that the headline evaluations need, upstream ones included."""
    evals = {key: entry for key, entry in section["evals"].items() if entry.get("headline")}
    runs = {entry["run"] for entry in evals.values()}
    encoders = {section["runs"][run]["tokens"] for run in runs}
    return {
        "text": set(section.get("texts", {})),
        "tokenizer": encoders,
        "rebase": encoders,
        "reconstruct": encoders,
        "tokens": encoders,
        "train": runs,
        "sample": set(evals),
        "score": set(evals),
        "diagnose": set(),
    }


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
        raise ValueError(f"{CATALOG}:\n  " + "\n  ".join(problems))


def _problems_of_scale(section: Section) -> list[str]:
    return (
        _problems_of_encoders(section)
        + _problems_of_runs(section)
        + _problems_of_evals(section)
        + _problems_of_diagnoses(section)
        + _problems_of_names(section)
    )


def _problems_of_encoders(section: Section) -> list[str]:
    tokenizers, rebased = section["tokenizers"], section.get("rebased", {})
    problems = [
        f"rebased.{key}: the name is a tokenizer's already" for key in rebased if key in tokenizers
    ]
    if set(section["encoders"]) != set(tokenizers) | set(rebased):
        problems.append("encoders: must be all tokenizers and all rebased")
    for key, entry in rebased.items():
        problems += _unknown(f"rebased.{key}", "parent", entry["parent"], tokenizers)
    return problems


def _problems_of_runs(section: Section) -> list[str]:
    problems = []
    texts = section.get("texts", {})
    for key, entry in section["runs"].items():
        problems += _unknown(f"runs.{key}", "tokens", entry["tokens"], section["encoders"])
        if texts or "captions" in entry:
            problems += _unknown(f"runs.{key}", "captions", entry.get("captions", ""), texts)
    return problems


def _problems_of_evals(section: Section) -> list[str]:
    return _problems_of_users("evals", section["evals"], section["runs"])


def _problems_of_diagnoses(section: Section) -> list[str]:
    diagnoses = section.get("diagnoses", {})
    problems = _problems_of_users("diagnoses", diagnoses, section["runs"])
    for key, entry in diagnoses.items():
        family = find(entry["family"])
        if not family.has_basis:
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
        run = runs[entry["run"]]
        fields = ("family", "tokens", *(["captions"] if group == "evals" else []))
        for field in fields:
            if entry.get(field) != run.get(field):
                problems.append(
                    f"{group}.{key}: {field} is '{entry.get(field)}' but run '{entry['run']}' "
                    f"has '{run.get(field)}'"
                )
    return problems


def _problems_of_names(section: Section) -> list[str]:
    systems = {entry["system"] for entry in section["evals"].values()}
    problems = []
    for name, system in section.get("same", {}).items():
        problems += _unknown(f"same.{name}", "system", system, systems)
        if name in systems:
            problems.append(f"same.{name}: evaluations have this system already")
    return problems


def _unknown(where: str, field: str, value: str, choices: Any) -> list[str]:
    if value in choices:
        return []
    return [f"{where}: no {field} '{value}'; choose one of {', '.join(sorted(choices))}"]
