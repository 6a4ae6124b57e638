# What every rule shares: the list of stages, the scale of this invocation, its checks.
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from nextbasis.partitions import check_job, partitions
from nextbasis.pipeline import Stages, prepare_environment

prepare_environment()

STAGES = Stages()
SCALE = config.get("scale", "cpu")
if SCALE not in STAGES.scales:
    raise WorkflowError(
        f"unknown scale '{SCALE}'; choose one of {', '.join(STAGES.scales)}, "
        f"as in --config scale={STAGES.scales[0]}"
    )
validate(STAGES.catalog, "../schemas/catalog.schema.yaml")
try:
    STAGES.check_references()
    # Jobs parse this file too; the verdict of the main process holds for them, and a
    # `dvc status` on another host would break the locks of jobs running here.
    if workflow.is_main_process and not STAGES.being_run(SCALE):
        STAGES.check_configs(SCALE)
        STAGES.refresh_markers(SCALE)
except (ValueError, RuntimeError, OSError) as error:
    raise WorkflowError(str(error)) from error


wildcard_constraints:
    scale=SCALE,  # one scale per invocation: results never mix


onstart:  # Of a real run: every job it will queue, before the first one.
    if workflow.executor_plugin.name == "slurm":
        try:
            offers = partitions()
            for job in workflow.dag.needrun_jobs():
                partition = job.resources.get("slurm_partition")
                if partition and not job.is_local:
                    wants = {
                        name: job.resources.get(name, 0)
                        for name in ("mem_mb", "runtime", "gpu")
                    }
                    wants["threads"] = job.threads
                    nodes = job.resources.get("nodes") or 1
                    wants["gpu"] /= nodes  # the rest is of one node already
                    check_job(job.rule.name, partition, wants, offers)
        except ValueError as error:
            raise WorkflowError(str(error)) from error
