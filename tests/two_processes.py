"""Start tests/worker.py in two processes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")


def in_two_processes(config: Any, *what: str, expected: int = 0) -> str:
    """Let torchrun start two processes that do things of worker.py in turn; what they print."""
    Path("config.pickle").write_bytes(pickle.dumps(config))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join([str(WORKER.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*launch, str(WORKER), *what],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr
