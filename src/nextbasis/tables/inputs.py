"""Which files a table or figure needs: pure functions of the catalog, so Snakemake can ask too."""

from dataclasses import dataclass
from pathlib import Path

from nextbasis.pipeline.catalog import (
    SCALES,
    TABLES,
    Catalog,
    Evals,
    Table,
    evals_made,
    evals_of,
    headline_evals,
    section,
    standard_evals,
    systems_of,
    table_of,
)
from nextbasis.pipeline.checks import check_table
from nextbasis.support.yamls import read_yaml

PUBLISHED = Path("config/published.csv")
EXTERNAL = Path("config/external.yaml")  # samples from outside
TEMPLATES = Path("workflow/templates")
FORMATS = ("md", "tex", "html", "csv")
FIGURES = (
    "claims.png",
    "loss_curves.png",
    "basis_maps.png",
    "singular_values.png",
    "energy_profile.png",
    "smuggling.png",
    "klt_overlap.png",
    "fid_overview.png",
    "contact_sheet.png",
)
MODEL_FIGURES = ("same_noise.png", "first_coefficients.png")  # of systems with a learned basis
FEATURE_FIGURES = ("neighbours.png", "features_pca.png")  # of the headline evaluations
TOKENIZER = ("tokenizer.safetensors", "index.json")
CODE = Path("src/nextbasis")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Evaluations of one seed, without and with a basis: keys of the catalog."""

    label: str
    baseline: str
    system: str
    run: str  # of the system
    tokens: str


def pairs_of(catalog: Catalog, scale: str) -> list[Pair]:
    """The lowest common seed of every row of every table of pairs that the scale has."""
    found = []
    for table in catalog["tables"].values():
        for row in table["rows"] if table["kind"] == "pairs" else ():
            sides = [evals_of(catalog, scale, row[name]) for name in ("baseline", "system")]
            by_seed = [{entry["seed"]: key for key, entry in side.items()} for side in sides]
            if common := sorted(set(by_seed[0]) & set(by_seed[1])):
                baseline, system = (side[common[0]] for side in by_seed)
                entry = sides[1][system]
                parts = {"run": entry["run"], "tokens": entry["tokens"]}
                found.append(Pair(label=row["label"], baseline=baseline, system=system, **parts))
    return found


def model_figures_of(catalog: Catalog, scale: str) -> list[str]:
    """The pictures of what a basis does, where the scale has a system without and with one."""
    return list(MODEL_FIGURES) if pairs_of(catalog, scale) else []


def model_inputs(catalog: Catalog, scale: str) -> list[str]:
    """Files under results/<scale>/ that the pictures of what a basis does are made from."""
    root = f"results/{scale}"
    parts = [f"dataset/{name}" for name in ("test_images.npy", "test_labels.npy", "index.json")]
    for pair in pairs_of(catalog, scale):
        parts += [f"tokenizer/{pair.tokens}/{name}" for name in TOKENIZER]
        parts += [f"tokens/{pair.tokens}/{name}" for name in ("shards", "labels.npy", "index.json")]
        parts += [f"sample/{key}/samples.npy" for key in (pair.baseline, pair.system)]
        parts += [f"sample/{key}/labels.npy" for key in (pair.baseline, pair.system)]
        parts.append(f"train/{pair.run}/model.safetensors")
    return [f"{root}/{part}" for part in dict.fromkeys(parts)]


def tables_of(catalog: Catalog, scale: str, extra: bool) -> list[str]:
    """The tables that show a system of the scale, or a pair; those marked extra with `extra`."""
    return [
        name
        for name, table in catalog["tables"].items()
        if (extra or not table.get("extra")) and _has_a_row(catalog, scale, table)
    ]


def _has_a_row(catalog: Catalog, scale: str, table: Table) -> bool:
    sides = ("baseline", "system") if table["kind"] == "pairs" else ("system",)
    return any(
        all(evals_of(catalog, scale, row[side]) for side in sides)
        for row in table["rows"]
        if sides[-1] in row
    )


def varying_tables_of(catalog: Catalog, scale: str, extra: bool) -> list[str]:
    """Those of the scale's tables that vary a setting, so that each has a figure of its name."""
    made = tables_of(catalog, scale, extra)
    return [name for name in made if "varies" in table_of(catalog, name)]


def table_evals(catalog: Catalog, scale: str, name: str) -> Evals:
    """The evaluations that a table shows at one scale."""
    check_table(catalog, name)
    found: Evals = {}
    for system in systems_of(table_of(catalog, name)):
        found |= evals_made(catalog, scale, system)
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
    return result_inputs(catalog, scale, table_evals(catalog, scale, name), tokenizers)


def result_inputs(catalog: Catalog, scale: str, evals: Evals, tokenizers: list[str]) -> list[str]:
    """Files under results/<scale>/ with the numbers of these evaluations and their protocol."""
    root, heldouts = f"results/{scale}", section(catalog, scale).get("heldouts", {})
    files = [f"{root}/dataset/index.json", f"{root}/dataset/metrics.json"]
    files += [f"{root}/reference/index.json", f"{root}/reference/metrics.json"]
    files += external_scores(scale)
    for tokenizer in tokenizers:
        files.append(f"{root}/reconstruct/{tokenizer}/score.json")
    for key, entry in evals.items():
        files.append(f"{root}/score/{key}/score.json")
        files.append(f"{root}/sample/{key}/speed.json")
        files.append(f"{root}/train/{entry['run']}/metrics.json")
        if entry["run"] in heldouts:
            files.append(f"{root}/heldout/{entry['run']}/metrics.json")
    return list(dict.fromkeys(files))


def external_scores(scale: str) -> list[str]:
    """The file that lists samples from outside, and the scores of those of one scale."""
    if not EXTERNAL.is_file():
        return []
    rows = (read_yaml(EXTERNAL) or {}).get("rows") or {}
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
    files.append(f"{root}/claims/comparisons.csv")
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
    names = ["figures/neighbours.py", "figures/feature_plots.py", "figures/plots.py"]
    names += [f"scoring/{name}.py" for name in ("extractor", "features", "feature_space")]
    return [str(CODE / name) for name in names]


def code_inputs(room: str) -> list[str]:
    """Code, templates, catalogs and published numbers behind tables, figures, claims or report."""
    rooms = dict.fromkeys(("tables", room))
    files = [path for name in rooms for path in sorted((CODE / name).glob("*.py"))]
    files += [CODE / "scoring/facts.py", *sorted(TEMPLATES.glob("*.j2")), PUBLISHED, TABLES]
    files += sorted(TEMPLATES.glob(f"{room}/*.j2"))
    return [str(path) for path in [*files, *sorted(SCALES.rglob("catalog.yaml"))]]
