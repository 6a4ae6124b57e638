# Orders and runs the stages of dvc.yaml for one scale, then renders tables and figures.
# snakemake --cores 2 --config scale=tiny
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

if Path(workflow.basedir).resolve() != Path.cwd():
    raise WorkflowError(
        f"this Snakefile is of {workflow.basedir}; run it from its repository's root, "
        f"and this is {Path.cwd()}"
    )


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/tables.smk"


rule all:
    default_target: True
    input:
        TABLES,
        PICTURES,
        PAGE,
