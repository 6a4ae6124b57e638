"""What workflow/kubernetes asks of kubectl, with a stand-in for it; and the profiles' options."""

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflow" / "kubernetes"
PLUGINS = {"slurm": "slurm", "kubernetes": "cluster-generic"}  # profile: executor
KUBECTL = """#!/bin/sh
echo "$@" >> "$CALLS"
case $1 in
create) cat > "$MANIFEST" ;;
get) printf "$ANSWER"; test "$ANSWER" != fails ;;
esac
"""


def called(folder: Path, *words: str, answer: str = "") -> str:
    """What the script prints; kubectl's arguments and manifest are in the folder."""
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": f"{folder}/calls"}
    given |= {"MANIFEST": f"{folder}/manifest", "ANSWER": answer, "NEXTBASIS_IMAGE": "image:1"}
    given |= {"NEXTBASIS_CLAIM": "claim", "NEXTBASIS_VOLUME": "/shared"}
    done = subprocess.run([SCRIPT, *words], env=given, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("gpus", "nodes", "of_a_pod"), [(0, 1, 0), (8, 1, 8), (64, 8, 8)])
def test_a_job_is_a_pod_with_the_gpus_of_a_node(
    tmp_path: Path, gpus: int, nodes: int, of_a_pod: int
) -> None:
    words = map(str, (64, 256_000, gpus, nodes, 100, "/shared/job.sh"))
    name = called(tmp_path, "submit", *words)
    job: dict[str, Any] = yaml.safe_load((tmp_path / "manifest").read_text())
    assert job["metadata"]["name"] == name
    assert len(name) <= 63  # as Kubernetes allows
    assert job["spec"]["activeDeadlineSeconds"] == 100 * 60 * nodes
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"] == ["/bin/sh", "/shared/job.sh"]
    limits = {"cpu": "64", "memory": "256000M", "nvidia.com/gpu": str(of_a_pod)}
    assert container["resources"] == {"limits": limits}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {"shared": "/shared", "memory": "/dev/shm"}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "claim"}


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ("found ", "running"),
        ("found Suspended", "running"),
        ("found FailureTarget", "running"),
        ("found FailureTarget Failed", "failed"),
        ("found SuccessCriteriaMet Complete", "success"),
        ("", "failed"),  # deleted
        ("fails", "running"),  # kubectl itself
    ],
)
def test_status_is_that_of_the_job(tmp_path: Path, conditions: str, status: str) -> None:
    assert called(tmp_path, "status", "a-job", answer=conditions) == status


def test_cancelled_jobs_are_deleted(tmp_path: Path) -> None:
    """As the plugin does it: the profile's command is a program, with Jobs for arguments."""
    profile = yaml.safe_load((ROOT / "profiles/kubernetes/config.yaml").read_text())
    assert ROOT / profile["cluster-generic-cancel-cmd"] == SCRIPT
    called(tmp_path, "nextbasis-a", "nextbasis-b")
    assert (tmp_path / "calls").read_text().startswith("delete job")
    assert (tmp_path / "calls").read_text().endswith(" nextbasis-a nextbasis-b\n")


@pytest.mark.parametrize("name", ["default", "slurm", "kubernetes"])
def test_keys_of_a_profile_are_options(name: str) -> None:
    """Options of an executor exist where its plugin is installed."""
    keys = set(yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text()))
    executor = PLUGINS.get(name)
    if executor:
        module = f"snakemake_executor_plugin_{executor.replace('-', '_')}"
        if importlib.util.find_spec(module) is None:
            keys = {key for key in keys if not key.startswith(f"{executor}-")}
    options = {word for action in get_argument_parser()._actions for word in action.option_strings}
    assert {key for key in keys if f"--{key}" not in options} == set()
