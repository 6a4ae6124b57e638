"""Which files a table or figure needs: pure functions of the catalog, so Snakemake can ask too."""

from pathlib import Path
from typing import Any

import yaml

from nextbasis.metrics.facts import METRICS

CATALOG = Path("config/catalog.yaml")
PUBLISHED = Path("config/published.csv")
EXTERNAL = Path("config/external.yaml")  # samples from outside
TEMPLATES = Path("workflow/templates")
FORMATS = ("md", "tex", "html", "csv")
FIGURES = (
    "loss_curves.png",
    "basis_maps.png",
    "singular_values.png",
    "energy_profile.png",
    "smuggling.png",
    "klt_overlap.png",
    "fid_overview.png",
    "contact_sheet.png",
)
FEATURE_FIGURES = ("neighbours.png", "features_pca.png")  # of the headline evaluations
EXTRA_FIGURES = {"mar_steps.png": "mar_steps"}  # of the extra tables: figure to table
CODE = Path("src/nextbasis")

Catalog = dict[str, Any]
Table = dict[str, Any]
Evals = dict[str, dict[str, Any]]


def load_catalog(path: Path = CATALOG) -> Catalog:
    """Read the catalog.

    Raises: FileNotFoundError naming the file.
    """
    return yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


def scales(catalog: Catalog) -> list[str]:
    """Names of the catalog's scales: the sections that have evaluations."""
    return [name for name, part in catalog.items() if isinstance(part, dict) and "evals" in part]


def section(catalog: Catalog, scale: str) -> dict[str, Any]:
    """The catalog's section of one scale.

    Raises: ValueError naming the scales there are.
    """
    if scale not in scales(catalog):
        raise ValueError(f"scale must be one of {', '.join(scales(catalog))}; got '{scale}'")
    return catalog[scale]


def table_of(catalog: Catalog, name: str) -> Table:
    """One table's entry.

    Raises: ValueError naming the tables there are.
    """
    tables = catalog.get("tables", {})
    if name not in tables:
        raise ValueError(f"table must be one of {', '.join(tables)}; got '{name}'")
    return tables[name]


def evaluation_of(catalog: Catalog, scale: str, key: str) -> dict[str, Any]:
    """One evaluation's entry.

    Raises: ValueError naming the evaluations there are.
    """
    evals = section(catalog, scale)["evals"]
    if key not in evals:
        raise ValueError(f"no evaluation '{key}' at scale {scale}; choose among {', '.join(evals)}")
    return evals[key]


def evals_of(catalog: Catalog, scale: str, system: str) -> Evals:
    """The evaluations of one system at one scale, one a seed; none where it is not run there."""
    part = section(catalog, scale)
    name = part.get("same", {}).get(system, system)
    return {key: entry for key, entry in part["evals"].items() if entry["system"] == name}


def standard_evals(catalog: Catalog, scale: str) -> Evals:
    """The evaluations of a scale without those marked extra, which are made on request only."""
    evals = section(catalog, scale)["evals"]
    return {key: entry for key, entry in evals.items() if not entry.get("extra")}


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


def tables_of(catalog: Catalog, scale: str, extra: bool) -> list[str]:
    """The tables that show a system of the scale; those marked extra only with `extra`."""
    return [
        name
        for name, table in catalog["tables"].items()
        if (extra or not table.get("extra")) and table_evals(catalog, scale, name)
    ]


def extra_figures_of(catalog: Catalog, scale: str, extra: bool) -> list[str]:
    """The figures of the scale's extra tables."""
    made = tables_of(catalog, scale, extra)
    return [name for name, table in EXTRA_FIGURES.items() if table in made]


def systems_of(table: Table) -> list[str]:
    """Every system a table names, once, in the order of its rows."""
    names = [row.get(key) for row in table["rows"] for key in ("baseline", "system")]
    return list(dict.fromkeys(name for name in names if name is not None))


def check_table(catalog: Catalog, name: str) -> None:
    """Check that a table's metrics exist, and that each of its systems is evaluated at one scale at
    least, and not as an extra unless the table is one.

    Raises: ValueError naming table and metric or system.
    """
    table = table_of(catalog, name)
    for metric in table["metrics"]:
        if metric not in METRICS:
            raise ValueError(
                f"tables.{name}.metrics in {CATALOG} must be of {', '.join(METRICS)}; "
                f"got '{metric}'"
            )
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
                f"'system: {system}' to {CATALOG} or correct the row"
            )


def table_evals(catalog: Catalog, scale: str, name: str) -> Evals:
    """The evaluations that a table shows at one scale."""
    check_table(catalog, name)
    found: Evals = {}
    for system in systems_of(table_of(catalog, name)):
        found |= evals_of(catalog, scale, system)
    return found


def table_tokenizers(catalog: Catalog, scale: str, name: str) -> list[str]:
    """Tokenizers whose reconstruction a table's header gives: the scale's own, then re-expressed
    ones that the table uses.
    """
    used = [entry["tokens"] for entry in table_evals(catalog, scale, name).values()]
    return list(dict.fromkeys([*section(catalog, scale).get("tokenizers", {}), *used]))


def table_inputs(catalog: Catalog, scale: str, name: str) -> list[str]:
    """Files under results/<scale>/ that a table is made from."""
    tokenizers = table_tokenizers(catalog, scale, name)
    return result_inputs(scale, table_evals(catalog, scale, name), tokenizers)


def result_inputs(scale: str, evals: Evals, tokenizers: list[str]) -> list[str]:
    """Files under results/<scale>/ with the numbers of these evaluations and their protocol."""
    root = f"results/{scale}"
    files = [f"{root}/dataset/index.json", f"{root}/dataset/metrics.json"]
    files += [f"{root}/reference/index.json", f"{root}/reference/metrics.json"]
    files += external_scores(scale)
    for tokenizer in tokenizers:
        files.append(f"{root}/reconstruct/{tokenizer}/score.json")
    for key, entry in evals.items():
        files.append(f"{root}/score/{key}/score.json")
        files.append(f"{root}/sample/{key}/speed.json")
        files.append(f"{root}/train/{entry['run']}/metrics.json")
    return list(dict.fromkeys(files))


def external_scores(scale: str) -> list[str]:
    """The file that lists samples from outside, and the scores of those of one scale."""
    if not EXTERNAL.is_file():
        return []
    rows = (yaml.safe_load(EXTERNAL.read_text()) or {}).get("rows") or {}
    return [str(EXTERNAL), *(row["score"] for row in rows.values() if row["scale"] == scale)]


def figure_inputs(catalog: Catalog, scale: str) -> list[str]:
    """Files under results/<scale>/ that the figures are made from."""
    part, root = section(catalog, scale), f"results/{scale}"
    files = [f"{root}/reconstruct/{key}/score.json" for key in part["tokenizers"]]
    for key, entry in standard_evals(catalog, scale).items():
        files.append(f"{root}/score/{key}/score.json")
        files.append(f"{root}/sample/{key}/speed.json")
        files.append(f"{root}/train/{entry['run']}/metrics.json")
        files.append(f"{root}/sample/{key}/grid.png")
        files.append(f"{root}/train/{entry['run']}/metrics.csv")
    for run in basis_runs(catalog, scale).values():
        files.append(f"{root}/train/{run}/model.safetensors")
    files += [f"{root}/diagnose/{key}/metrics.json" for key in part.get("diagnoses", {})]
    return list(dict.fromkeys(files))


def feature_inputs(catalog: Catalog, scale: str) -> list[str]:
    """Files under results/<scale>/ that the figures of feature space are made from."""
    root = f"results/{scale}"
    parts = [
        f"dataset/{split}_{what}.npy"
        for split in ("train", "test")
        for what in ("images", "labels")
    ]
    parts += ["dataset/captions.json", "dataset/index.json"]
    parts += ["reference/statistics.npz", "reference/index.json"]
    for key in headline_evals(catalog, scale).values():
        parts += [f"sample/{key}/samples.npy", f"sample/{key}/labels.npy"]
    return [f"{root}/{part}" for part in parts]


def basis_runs(catalog: Catalog, scale: str) -> dict[str, str]:
    """System -> run (that of the lowest seed) whose basis is pictured: all continuous ones."""
    part = section(catalog, scale)
    found: dict[str, str] = {}
    evals = standard_evals(catalog, scale).values()
    for entry in sorted(evals, key=lambda entry: entry["seed"]):
        if part["runs"][entry["run"]].get("basis", "identity") != "identity":
            found.setdefault(entry["system"], entry["run"])
    return found


def feature_code() -> list[str]:
    """Code behind the figures of feature space."""
    names = ["stages/neighbours.py", "tables/feature_plots.py", "tables/plots.py"]
    names += [f"metrics/{name}.py" for name in ("extractor", "features", "feature_space")]
    return [str(CODE / name) for name in names]


def code_inputs(stage: str) -> list[str]:
    """Code, templates, catalog and published numbers behind `tables`, `figures` or `claims`."""
    files = [CODE / "stages" / f"{stage}.py", *sorted((CODE / "tables").glob("*.py"))]
    files.append(CODE / "metrics/facts.py")
    return [str(path) for path in [*files, *sorted(TEMPLATES.glob("*.j2")), PUBLISHED, CATALOG]]
