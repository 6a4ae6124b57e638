"""The tiny DAG through a real Slurm of one node ends in the bits of the local run.

`make test-slurm`: minutes, root and Debian's slurm-wlm and munge. On the way one job is killed and
tried again, and one training is longer than its time limit and goes on from its checkpoint.
"""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import slurm
from command import ROOT
from miniature import environment

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing()),
]
LONG, STEPS = "mar_b", 12_000  # a training of some minutes
LIMIT = 1  # minute, the least that Slurm knows
RETRIES = 9
QUICK = [  # no accounting database here, and no need to be gentle with the controller
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=2",
    "--seconds-between-status-checks=2",
]
WAIT = 1200  # seconds


def clone(folder: Path) -> Path:
    """The last commit with one long training; its runtime is the least possible."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    catalog = folder / "config/catalog.yaml"
    text = catalog.read_text()
    short = f"    {LONG}: {{<<: *tiny_mar, model: small/mar_b}}\n"
    assert text.count(short) == 1
    longer = short.replace("}", f', overrides: "train.steps={STEPS}"}}')
    catalog.write_text(text.replace(short, longer))
    with (folder / "config/runtimes.yaml").open("a") as stream:
        yaml.safe_dump({"tiny": {"train": {LONG: LIMIT}}}, stream)
    return folder


def outputs(folder: Path) -> dict[str, Any]:
    """The hash of everything that stages of tiny wrote but speeds, from dvc.lock."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if "-tiny" in name
        for out in stage["outs"]
        if not out["path"].endswith("speed.json")
    }


def kill_one(process: subprocess.Popen[bytes], env: dict[str, str]) -> str:
    """Kill the first job of a training, as a broken node would; its number."""
    for _ in range(WAIT):
        assert process.poll() is None, "snakemake ended before a training began"
        listed = subprocess.run(
            ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"],
            env=env,
            capture_output=True,
            text=True,
        )
        for line in listed.stdout.splitlines():
            number, _, comment = line.partition(" ")
            if "train" in comment and LONG not in comment:
                subprocess.run(["scancel", "--full", "--signal=KILL", number], env=env, check=True)
                return number
        time.sleep(0.5)
    raise AssertionError("no training began")


def test_slurm_makes_the_same_bits_through_a_kill_and_a_time_limit(tmp_path: Path) -> None:
    there, here = clone(tmp_path / "slurm"), clone(tmp_path / "local")
    command = ["snakemake", "--profile=profiles/slurm", "--config", "scale=tiny"]
    options = [*QUICK, f"--retries={RETRIES}"]
    with slurm.cluster(tmp_path / "cluster") as env, (tmp_path / "log").open("wb") as log:
        env = environment() | env
        process = subprocess.Popen([*command, *options], cwd=there, env=env, stdout=log, stderr=log)
        killed = kill_one(process, env)
        status = process.wait(WAIT)
    said = (tmp_path / "log").read_text()
    assert status == 0, said[-5000:]
    assert f"'{killed}'" in said and "Trying to restart job" in said
    resumed = (there / f"results/tiny/logs/train/{LONG}.log").read_text()
    assert "resuming at step" in resumed
    subprocess.run(
        ["snakemake", "--cores=2", "--config", "scale=tiny"],
        cwd=here,
        env=environment(),
        check=True,
    )
    assert outputs(there) == outputs(here)
    assert len(outputs(here)) > 50
