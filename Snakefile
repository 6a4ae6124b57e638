# Orders and runs the stages of dvc.yaml for one scale, then renders tables and figures.
# snakemake --cores 2 --config scale=tiny
from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/tables.smk"


rule all:
    default_target: True
    input:
        TABLES,
        PICTURES,
