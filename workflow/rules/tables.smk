# Tables, claims and figures of one scale: not DVC stages, because what they read follows the catalog.
from nextbasis.claims.inputs import (
    CLAIMS,
    check_claims,
    claim_inputs,
    claim_outputs,
    load_claims,
    pair_inputs,
)
from nextbasis.pipeline.catalog import standard_evals
from nextbasis.tables.inputs import (
    FEATURE_FIGURES,
    FIGURES,
    FORMATS,
    code_inputs,
    feature_code,
    feature_inputs,
    figure_inputs,
    model_figures_of,
    model_inputs,
    table_inputs,
    tables_of,
    varying_tables_of,
)


report: "../report/workflow.rst"


localrules:
    page,
    claims,
    table,
    figures,
    lines,


# Whether tables marked extra are made, too; on the command line true and false are words.
WORD = str(config.get("extra", "false")).lower()
if WORD not in ("true", "false"):
    raise WorkflowError(f"--config extra must be true or false, got '{WORD}'")
EXTRA = WORD == "true"
LEDGER = load_claims()
try:
    check_shape(LEDGER, "claims", CLAIMS)
    check_claims(LEDGER, STAGES.catalog)
except ValueError as error:
    raise WorkflowError(str(error)) from error


TABLES = expand(
    "results/{scale}/tables/{table}.{format}",
    scale=SCALE,
    table=tables_of(STAGES.catalog, SCALE, EXTRA),
    format=FORMATS,
)
TABLES += expand(
    "results/{scale}/claims/{name}", scale=SCALE, name=claim_outputs(FORMATS)
)
PICTURES = expand(
    "results/{scale}/figures/{name}",
    scale=SCALE,
    name=[
        *FIGURES,
        *FEATURE_FIGURES,
        *model_figures_of(STAGES.catalog, SCALE),
        *[f"{table}.png" for table in varying_tables_of(STAGES.catalog, SCALE, EXTRA)],
    ],
)


PAGE_RUNS = {
    entry["run"]
    for entry in standard_evals(STAGES.catalog, SCALE).values()
    if entry["run"] in STAGES.keys("train")
}
PAGE = f"results/{SCALE}/report.html"


rule page:  # The answer, pictures, tables and claims on one page.
    input:
        TABLES,
        PICTURES,
        expand("results/{scale}/train/{run}/metrics.json", scale=SCALE, run=PAGE_RUNS),
        f"results/{SCALE}/dataset/index.json",
        code_inputs("report"),
        "docs/glossary.md",
    output:
        PAGE,
    log:
        f"results/{SCALE}/logs/page.log",
    priority: 1000
    threads: 1
    resources:
        mem_mb=1000,
    params:
        extra="--extra" if EXTRA else "",
    shell:
        f"python -m nextbasis.report --scale {SCALE} {{params.extra}} > {{log}} 2>&1"


rule claims:  # What this scale says about every claim of the papers.
    input:
        lambda wildcards: claim_inputs(LEDGER, STAGES.catalog, wildcards.scale),
    output:
        "results/{scale}/claims/claims.md",
        "results/{scale}/claims/claims.tex",
        "results/{scale}/claims/comparisons.md",
        "results/{scale}/claims/comparisons.tex",
        "results/{scale}/claims/summary.html",
        report(
            "results/{scale}/claims/claims.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"ledger": "claims", "format": "page"},
        ),
        report(
            "results/{scale}/claims/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"ledger": "claims", "format": "data"},
        ),
        report(
            "results/{scale}/claims/comparisons.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"ledger": "comparisons", "format": "page"},
        ),
        report(
            "results/{scale}/claims/comparisons.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"ledger": "comparisons", "format": "data"},
        ),
    log:
        "results/{scale}/logs/claims.log",
    priority: 1000
    threads: 1
    resources:
        mem_mb=1000,
    shell:
        "python -m nextbasis.claims --scale {wildcards.scale} > {log} 2>&1"


rule table:  # One table in every format.
    input:
        lambda wildcards: table_inputs(STAGES.catalog, wildcards.scale, wildcards.table),
        lambda wildcards: pair_inputs(
            LEDGER, STAGES.catalog, wildcards.scale, wildcards.table
        ),
        code_inputs("tables"),
    output:
        "results/{scale}/tables/{table}.md",
        "results/{scale}/tables/{table}.tex",
        report(
            "results/{scale}/tables/{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}", "format": "page"},
        ),
        report(
            "results/{scale}/tables/{table}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}", "format": "data"},
        ),
    log:
        "results/{scale}/logs/tables/{table}.log",
    wildcard_constraints:
        table="|".join(STAGES.catalog["tables"]),
    priority: 1000
    threads: 1
    resources:
        mem_mb=1000,
    shell:
        "python -m nextbasis.tables --scale {wildcards.scale} --table {wildcards.table} > {log} 2>&1"


rule figures:  # Claims, curves, maps and diagnostics of A, FID overview and contact sheet.
    input:
        lambda wildcards: figure_inputs(STAGES.catalog, wildcards.scale),
        code_inputs("figures"),
    output:
        report(
            "results/{scale}/figures/claims.png",
            caption="../report/claims_plot.rst",
            category="Figures",
            labels={"figure": "claims and their intervals"},
        ),
        report(
            "results/{scale}/figures/loss_curves.png",
            caption="../report/loss_curves.rst",
            category="Figures",
            labels={"figure": "loss curves"},
        ),
        report(
            "results/{scale}/figures/basis_maps.png",
            caption="../report/basis_maps.rst",
            category="Figures",
            labels={"figure": "rows of A as maps"},
        ),
        report(
            "results/{scale}/figures/singular_values.png",
            caption="../report/singular_values.rst",
            category="Figures",
            labels={"figure": "singular values of A"},
        ),
        report(
            "results/{scale}/figures/energy_profile.png",
            caption="../report/energy_profile.rst",
            category="Figures",
            labels={"figure": "energy of the first coefficients"},
        ),
        report(
            "results/{scale}/figures/smuggling.png",
            caption="../report/smuggling.rst",
            category="Figures",
            labels={"figure": "coefficients that give later ones away"},
        ),
        report(
            "results/{scale}/figures/klt_overlap.png",
            caption="../report/klt_overlap.rst",
            category="Figures",
            labels={"figure": "nearness of A to the KLT"},
        ),
        report(
            "results/{scale}/figures/fid_overview.png",
            caption="../report/fid_overview.rst",
            category="Figures",
            labels={"figure": "FID by system"},
        ),
        report(
            "results/{scale}/figures/contact_sheet.png",
            caption="../report/contact_sheet.rst",
            category="Figures",
            labels={"figure": "samples of every system"},
        ),
    log:
        "results/{scale}/logs/figures.log",
    threads: 1
    resources:
        mem_mb=2000,
    shell:
        "python -m nextbasis.figures --scale {wildcards.scale} > {log} 2>&1"


rule neighbours:  # Nearest training images of samples, and principal axes of the features.
    input:
        lambda wildcards: feature_inputs(STAGES.catalog, wildcards.scale),
        feature_code(),
    output:
        report(
            "results/{scale}/figures/neighbours.png",
            caption="../report/neighbours.rst",
            category="Figures",
            labels={"figure": "nearest training images of samples"},
        ),
        report(
            "results/{scale}/figures/features_pca.png",
            caption="../report/features_pca.rst",
            category="Figures",
            labels={"figure": "principal axes of the features"},
        ),
    log:
        "results/{scale}/logs/neighbours.log",
    threads: STAGES.resource("reference", "threads")
    resources:
        mem_mb=STAGES.resource("reference", "mem_mb"),
        runtime=STAGES.resource("reference", "runtime"),
        gpu=STAGES.resource("reference", "gpu"),
    shell:
        "python -m nextbasis.figures.neighbours --scale {wildcards.scale} > {log} 2>&1"


rule pictures:  # What a basis does: samples from the same noise, images from few coefficients.
    input:
        lambda wildcards: model_inputs(STAGES.catalog, wildcards.scale),
        code_inputs("figures"),
    output:
        report(
            "results/{scale}/figures/same_noise.png",
            caption="../report/same_noise.rst",
            category="Figures",
            labels={"figure": "samples from the same noise, without and with a basis"},
        ),
        report(
            "results/{scale}/figures/first_coefficients.png",
            caption="../report/first_coefficients.rst",
            category="Figures",
            labels={"figure": "images from their first coefficients, by basis"},
        ),
    log:
        "results/{scale}/logs/pictures.log",
    threads: 1
    resources:
        mem_mb=2000,
    shell:
        "python -m nextbasis.figures.pictures --scale {wildcards.scale} > {log} 2>&1"


rule lines:  # Of a table that varies a setting: FID, and the held-out loss if it has it, against it.
    input:
        lambda wildcards: table_inputs(STAGES.catalog, wildcards.scale, wildcards.table),
        code_inputs("figures"),
    output:
        report(
            "results/{scale}/figures/{table}.png",
            caption="../report/lines.rst",
            category="Figures",
            labels={"figure": "{table}"},
        ),
    log:
        "results/{scale}/logs/lines/{table}.log",
    wildcard_constraints:
        table="|".join(
            name
            for name, table in STAGES.catalog["tables"].items()
            if "varies" in table
        ),
    threads: 1
    resources:
        mem_mb=2000,
    shell:
        "python -m nextbasis.figures.lines --scale {wildcards.scale} --table {wildcards.table} > {log} 2>&1"
