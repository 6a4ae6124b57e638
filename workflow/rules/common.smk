# What every rule shares: the list of stages, the scale of this invocation, its checks.
import sys

from snakemake.exceptions import WorkflowError

from nextbasis.pipeline.catalog import TABLES as TABLES_FILE
from nextbasis.pipeline.catalog import default_scale
from nextbasis.pipeline.checks import check_files, check_shape
from nextbasis.pipeline.partitions import check_job, partitions
from nextbasis.pipeline.requests import check_settings, check_targets
from nextbasis.pipeline.schedule import Stages, prepare_environment

prepare_environment()

try:
    check_settings(config)
    SCALE = config.get("scale", default_scale())
    STAGES = Stages(SCALE)
    check_targets(sys.argv[1:], STAGES)
    check_files(SCALE)
    check_shape(STAGES.catalog["tables"], "tables", TABLES_FILE)
    STAGES.check_references()
    # Jobs parse this file too; the verdict of the main process holds for them, and a
    # `dvc status` on another host would break the locks of jobs running here.
    if workflow.is_main_process and not STAGES.being_run():
        STAGES.check_configs()
        STAGES.refresh_markers()
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
