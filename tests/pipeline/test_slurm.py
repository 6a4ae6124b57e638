"""The tiny DAG through a real Slurm of one node ends in the bits of the local run.

`make test-slurm`: half an hour, root and Debian's slurm-wlm and munge. On the way one training is
killed and tried again, and another one comes to its time limit and goes on from its last state. A
run that the cluster has no GPUs for is refused first.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import slurm
from command import ROOT
from miniature import TOOLS, environment

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing()),
]
LONG, STEPS = "mar_b", 1000  # a training of more than ten seconds
SLURM = [
    "snakemake",
    "--profile=profiles/slurm",
    "--slurm-status-command=squeue",  # there is no accounting database here
    "--slurm-init-seconds-before-status-checks=2",  # nor anybody who minds being asked
    "--seconds-between-status-checks=2",
    "--config",
    "scale=tiny",
]
WAIT = 3600  # seconds


def clone(folder: Path) -> tuple[Path, dict[str, str]]:
    """The last commit with one longer training, and an environment that runs its code."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    catalog = folder / "config/scales/tiny/catalog.yaml"
    text = catalog.read_text()
    short = f"run: {LONG}, model: small/mar_b, headline: true}}\n"
    assert text.count(short) == 1
    longer = short.replace("}", f', overrides: "train.steps={STEPS}"}}')
    catalog.write_text(text.replace(short, longer))
    return folder, environment() | {"PYTHONPATH": str(folder / "src")}


def outputs(folder: Path) -> dict[str, bytes]:
    """Everything that stages of tiny wrote but speeds: tokens, models, samples, metrics, scores."""
    stages = yaml.safe_load((folder / "config/scales/tiny/dvc.lock").read_text())["stages"]
    outs = [out["path"] for stage in stages.values() for out in stage["outs"]]
    paths = [path for out in outs for path in (folder / out, *(folder / out).rglob("*"))]
    files = [path for path in paths if path.is_file() and path.name != "speed.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextmanager
def running(
    command: list[str], folder: Path, env: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def trainings(env: dict[str, str]) -> dict[str, str]:
    """Slurm's numbers of the trainings that run now, by run."""
    command = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
    listed = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    jobs = [line.split() for line in listed.stdout.splitlines()]
    before = "rule_train_wildcards_tiny_"
    return {job[1].removeprefix(before): job[0] for job in jobs if job[1].startswith(before)}


def disturb(process: subprocess.Popen[bytes], env: dict[str, str], log: Path) -> dict[str, str]:
    """Kill one training, as a broken node would, and let LONG's come to its time limit.

    It is stopped once it has taken some steps, so that it cannot be faster than Slurm, whose least
    limit is a minute; at the limit Slurm lets it go on, sends SIGTERM and, later, SIGKILL.
    """
    done: dict[str, str] = {}
    for _ in range(WAIT):
        assert process.poll() is None, "snakemake ended before two trainings began"
        for run, job in trainings(env).items():
            what = "limited" if run == LONG else "killed"
            if what in done or (
                run == LONG and not (log.exists() and "left" in log.read_text(encoding="utf-8"))
            ):
                continue
            if run == LONG:
                commands = [["scancel", "--signal=STOP", job]]
                commands += [["scontrol", "update", f"JobId={job}", "TimeLimit=1"]]
            else:
                commands = [["scancel", "--full", "--signal=KILL", job]]
            for command in commands:
                subprocess.run(command, env=env, check=True)
            done[what] = job
        if len(done) == 2:
            return done
        time.sleep(0.5)
    raise AssertionError(f"only {done}")


def assert_refused_before_anything_is_queued(folder: Path, env: dict[str, str]) -> None:
    """A run that wants GPUs of a node without any."""
    command = [*SLURM, "--set-resources", "train:gpu=1"]
    refused = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "gpu is 1, but a job in partition 'gpu' can have at most 0 GPUs" in refused.stderr
    queue = ["squeue", "--noheader", "--states=all"]
    assert subprocess.run(queue, env=env, capture_output=True).stdout == b""


def test_slurm_makes_the_same_bits_through_a_kill_and_a_time_limit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there, env = clone(tmp_path / "slurm")
    here, local_env = clone(tmp_path / "local")
    log, log_of_long = tmp_path / "log", there / f"results/tiny/logs/train/{LONG}.log"
    with slurm.cluster(tmp_path_factory.mktemp("c")) as variables:
        env |= variables | {"PATH": f"{TOOLS}{os.pathsep}{variables['PATH']}"}
        assert_refused_before_anything_is_queued(there, env)
        with running(SLURM, there, env, log) as process:
            done = disturb(process, env, log_of_long)
            status = process.wait(WAIT)
    said = log.read_text()
    assert status == 0, said[-5000:]
    assert f"SLURM-job '{done['killed']}' failed" in said
    assert f"SLURM-job '{done['limited']}' failed, SLURM status is: 'TIMEOUT'" in said
    assert "resuming at step" in log_of_long.read_text()

    local = ["snakemake", "--cores=2", "--config", "scale=tiny"]
    subprocess.run(local, cwd=here, env=local_env, check=True)
    expected, made = outputs(here), outputs(there)
    assert {path for path in expected if expected[path] != made.get(path)} == set()
    assert len(made) == len(expected) > 50
