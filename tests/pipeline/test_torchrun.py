"""What workflow/torchrun starts, with stand-ins for torchrun, srun and hostname on the path."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "workflow" / "torchrun"


def started(folder: Path, **environment: str) -> str:
    """The command that a stage's command becomes."""
    for name in ("torchrun", "srun"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (folder / name).chmod(0o755)
    (folder / "hostname").write_text("#!/bin/sh\necho first\n")
    (folder / "hostname").chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    command = [SCRIPT, "-m", "nextbasis.stages.train", "key=a", "overrides=b c"]
    done = subprocess.run(
        command, env=environment | {"PATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_one_node_needs_no_scheduler(tmp_path: Path) -> None:
    stage = "-m nextbasis.stages.train key=a overrides=b c"
    assert started(tmp_path) == f"torchrun --standalone --nproc-per-node=gpu {stage}"
    assert started(tmp_path, NODES="1") == started(tmp_path)
    assert started(tmp_path, NODES="4", NEXTBASIS_POD="a-pod") == started(tmp_path)


def test_several_nodes_meet_at_the_first_one(tmp_path: Path) -> None:
    command = started(tmp_path, NODES="4", SLURM_JOB_ID="17").split(" torchrun ")
    assert command[0] == "srun --nodes=4 --ntasks=4 --ntasks-per-node=1"
    words = command[1].split()
    assert {"--nnodes=4", "--nproc-per-node=gpu", "--rdzv-id=17"} <= set(words)
    assert {"--rdzv-backend=c10d", "--rdzv-endpoint=first:29500"} <= set(words)
    assert command[1].endswith("-m nextbasis.stages.train key=a overrides=b c")
