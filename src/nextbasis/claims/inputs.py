"""Which claims there are and which files their verdicts need: pure, so Snakemake can ask too."""

from pathlib import Path
from typing import Any

from nextbasis.claims.runs import ANYTHING, BASES, SETTINGS, unnamed
from nextbasis.pipeline.catalog import (
    Catalog,
    Evals,
    evals_made,
    evals_of,
    scales,
    section,
    table_of,
)
from nextbasis.scoring.facts import METRICS
from nextbasis.support.words import listed, nearest
from nextbasis.support.yamls import read_keys
from nextbasis.tables.inputs import code_inputs, result_inputs

CLAIMS = Path("config/claims.yaml")
LEDGERS = ("claims", "comparisons")  # one row a claim; one row a comparison
SUMMARY = "summary.html"  # the part that the report's first page shows
KINDS = ("below", "above", "equal", "ratio")

Claims = dict[str, Any]  # alpha, and the claims by name


def load_claims(path: Path = CLAIMS) -> Claims:
    """Read the claims.

    Raises: FileNotFoundError naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it holds the papers' claims")
    return read_keys(path)


def check_claims(claims: Claims, catalog: Catalog) -> None:
    """Check every name that the claims use.

    Raises: ValueError listing each wrong name with what would be right.
    """
    problems = []
    if not 0 < claims["alpha"] < 1:
        problems.append(f"alpha must lie in (0, 1), got {claims['alpha']}")
    for name, claim in claims["claims"].items():
        problems += [f"claims.{name}: {problem}" for problem in _problems(claim, catalog)]
    if problems:
        raise ValueError(f"{CLAIMS}:\n  " + listed(problems, "\n  "))


def _problems(claim: dict[str, Any], catalog: Catalog) -> list[str]:
    problems = _unknown("kind", claim["kind"], KINDS)
    problems += _unknown("decidable_from", claim["decidable_from"], scales(catalog))
    if claim["kind"] in ("equal", "ratio") and "tolerance" not in claim:
        problems.append(f"kind '{claim['kind']}' needs a tolerance")
    if bool(claim["compare"]) == ("needs" in claim):
        problems.append("give comparisons, or under `needs` what nobody can run here; not both")
    choices = [name for name, metric in METRICS.items() if metric.claims]
    for comparison in claim["compare"]:
        name = comparison["metric"]
        problems += _unknown("metric", name, choices)
        if claim["kind"] == "ratio" and name in choices and METRICS[name].negative:
            problems.append(f"kind 'ratio' needs a metric that is positive; got '{name}'")
        if len({"than", "than_published"} & set(comparison)) != 1:
            problems.append(
                f"the comparison of '{comparison['system']}' needs one of than, than_published"
            )
        for system in [*systems_of(comparison), *comparison.get("readings", [])]:
            if not any(evals_of(catalog, scale, system) for scale in scales(catalog)):
                problems.append(
                    f"no scale evaluates the system '{system}'; add an eval with "
                    f"'system: {system}' to a catalog below config/scales or correct the claim"
                )
        problems += _differences(comparison, claim.get("differ", []), catalog)
    for name in claim.get("differ", []):
        problems += _unknown("differ", name.partition(".")[0], (ANYTHING, *SETTINGS))
    for conflict in claim.get("conflicts", []):
        for _, metric in conflict["between"]:
            problems += _unknown("a conflict's metric", metric, list(METRICS))
    return problems


def _differences(comparison: dict[str, Any], named: list[str], catalog: Catalog) -> list[str]:
    """In what the runs of a comparison differ besides what its claim names."""
    if "than" not in comparison:
        return []
    return [
        f"at scale {scale} the runs of {system} and {comparison['than']} differ in {found}; the "
        f"claim names {', '.join(named) or 'nothing'} under `differ`"
        for system in [comparison["system"], *comparison.get("readings", [])]
        for scale in scales(catalog)
        for found in unnamed(catalog, scale, (system, comparison["than"]), named)
    ]


def _unknown(key: str, value: str, choices: tuple[str, ...] | list[str]) -> list[str]:
    known = value in choices
    return [] if known else [f"{key} must be one of {nearest(choices, value)}; got '{value}'"]


def systems_of(comparison: dict[str, Any]) -> list[str]:
    """The one or two systems that a comparison measures."""
    return [comparison[key] for key in ("system", "than") if key in comparison]


def variants(comparison: dict[str, Any], catalog: Catalog, scale: str) -> list[dict[str, Any]]:
    """The comparison, then it in every other reading that the scale makes without being asked."""
    others = [
        system
        for system in comparison.get("readings", [])
        if any(not entry.get("extra") for entry in evals_of(catalog, scale, system).values())
    ]
    return [comparison | {"system": system} for system in [comparison["system"], *others]]


def claimed_systems(claims: Claims, catalog: Catalog, scale: str) -> list[str]:
    """Every system of a scale that a verdict rests on, once."""
    entries = [
        entry
        for claim in claims["claims"].values()
        for comparison in claim["compare"]
        for entry in variants(comparison, catalog, scale)
    ]
    systems = dict.fromkeys(system for entry in entries for system in systems_of(entry))
    return [system for system in systems if evals_made(catalog, scale, system)]


def claim_evals(claims: Claims, catalog: Catalog, scale: str) -> Evals:
    """The evaluations of one scale that verdicts rest on."""
    found: Evals = {}
    for system in claimed_systems(claims, catalog, scale):
        found |= evals_made(catalog, scale, system)
    return found


def claim_inputs(claims: Claims, catalog: Catalog, scale: str) -> list[str]:
    """Files that the verdicts of one scale are made from, code included."""
    tokenizers = list(section(catalog, scale)["tokenizers"])
    files = result_inputs(catalog, scale, claim_evals(claims, catalog, scale), tokenizers)
    bases = [str(path) for path in sorted(BASES.glob("*.yaml"))]
    return [*files, *bases, *code_inputs("claims"), str(CLAIMS)]


def pair_inputs(claims: Claims, catalog: Catalog, scale: str, table: str) -> list[str]:
    """Files behind the verdicts in a table of pairs, which are those of the claims; else none."""
    of_pairs = table_of(catalog, table)["kind"] == "pairs"
    return claim_inputs(claims, catalog, scale) if of_pairs else []


def claim_outputs(suffixes: tuple[str, ...]) -> list[str]:
    """Names of the files of a ledger."""
    return [f"{name}.{suffix}" for name in LEDGERS for suffix in suffixes] + [SUMMARY]
