"""What the nodes of Slurm's partitions have, so that a job which none can run is refused at once.

sbatch would refuse it only when its turn has come, after days perhaps, and lets a job that asks for
more time than its partition grants wait for ever.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping

from nextbasis.support.words import listed

FIELDS = ("%R", "%c", "%m", "%l", "%G")  # partition, CPUs, MB, time limit, GRES: of alike nodes
NAMES = {"threads": "CPUs", "mem_mb": "MB of memory", "runtime": "minutes", "gpu": "GPUs"}
GPUS = re.compile(r"\bgpu(?::[^:,()]+)?:(\d+)")  # gpu:8 or gpu:a100:8(S:0-1)
Offer = dict[str, float]  # of one kind of node, by the names above


def partitions() -> dict[str, list[Offer]]:
    """The kinds of nodes of every partition, as sinfo lists them.

    Raises: ValueError if there is no sinfo, or no cluster that answers it.
    """
    try:
        listed = subprocess.run(
            ["sinfo", "--exact", "--noheader", f"--format={'|'.join(FIELDS)}"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
        )
    except FileNotFoundError as error:
        raise ValueError("no sinfo here; run profiles/slurm on a node of the cluster") from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"sinfo fails: {error.stderr.strip()}") from error
    offers: dict[str, list[Offer]] = {}
    for line in listed.stdout.splitlines():
        name, *rest = line.split("|")
        offers.setdefault(name, []).append(_offer(*rest))
    return offers


def check_job(
    rule: str, partition: str, wants: Mapping[str, float], offers: Mapping[str, Iterable[Offer]]
) -> None:
    """Check that some node of a job's partition has what the job wants of each node.

    Raises: ValueError naming the rule, the resource, its value and what there is.
    """
    if partition not in offers:
        raise ValueError(
            f"rule {rule}: slurm_partition is '{partition}', but sinfo knows "
            f"{listed(sorted(offers))}; name one by --default-resources slurm_partition=NAME"
        )
    nodes = list(offers[partition])
    for resource, unit in NAMES.items():
        most = max(node[resource] for node in nodes)
        if wants[resource] > most:
            raise ValueError(
                f"rule {rule}: {resource} is {wants[resource]:g}, but a job in partition "
                f"'{partition}' can have at most {most:g} {unit}; use another partition "
                f"(--default-resources slurm_partition=NAME) or --set-resources or --set-threads"
            )


def _offer(cpus: str, memory: str, limit: str, gres: str) -> Offer:
    gpus = sum(int(count) for count in GPUS.findall(gres))
    numbers = [float(text.rstrip("+")) for text in (cpus, memory)]
    return dict(zip(NAMES, [*numbers, _minutes(limit), gpus], strict=True))


def _minutes(limit: str) -> float:
    """Minutes of [days-]hours:minutes:seconds or a form without days; `infinite` is inf."""
    if limit == "infinite":
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return (int(days or 0) * 24 + hours) * 60 + minutes + seconds / 60
