# One rule a stage kind. What a stage reads and writes is said in dvc.yaml, and DVC runs it; the
# patterns are read from there, so nothing is said twice.
from pathlib import Path

# What the report says of stages' pictures: caption, category, labels.
SHOWN = {
    "reconstruct/grid.png": (
        "reconstructions",
        "Reconstructions",
        {"tokenizer": "{key}"},
    ),
    "sample/grid.png": ("samples", "Samples", {"evaluation": "{key}"}),
    "diagnose/grid.png": (
        "prefix_images",
        "Diagnoses",
        {"run": "{key}", "picture": "images from the first coefficients"},
    ),
    "diagnose/rows.png": (
        "basis_rows",
        "Diagnoses",
        {"run": "{key}", "picture": "what each coefficient adds"},
    ),
}


def output_of(kind, path):
    """An output of a stage: a file, a folder, or a picture of the report."""
    if not Path(path).suffix:
        return directory(path)
    if (name := f"{kind}/{Path(path).name}") not in SHOWN:
        return path
    caption, category, labels = SHOWN[name]
    return report(
        path, caption=f"../report/{caption}.rst", category=category, labels=labels
    )


for KIND in STAGES.kinds:

    # SIGTERM, which a cluster sends to all processes of a job before it kills them, is the stage's
    # to answer: a training saves its state. The shell and DVC must outlive it.
    rule:
        name:
            KIND
        input:
            STAGES.inputs(KIND, ancient),
        output:
            *[output_of(KIND, path) for path in STAGES.outputs(KIND)],
        log:
            STAGES.log(KIND),
        wildcard_constraints:
            key=STAGES.key_pattern(KIND),
        priority: STAGES.priority(KIND)
        threads: STAGES.resource(KIND, "threads")
        resources:
            mem_mb=STAGES.resource(KIND, "mem_mb"),
            runtime=STAGES.resource(KIND, "runtime"),
            gpu=STAGES.resource(KIND, "gpu"),
            nodes=STAGES.resource(KIND, "nodes"),
            mpi=STAGES.resource(KIND, "mpi"),
            tasks=STAGES.resource(KIND, "tasks"),
        params:
            stage=STAGES.address(KIND),
            nodes=lambda wildcards, resources: resources.get("nodes") or 1,
        shell:
            "trap '' TERM; NODES={params.nodes} "
            "dvc --wait-for-lock repro --single-item {params.stage} > {log} 2>&1"
