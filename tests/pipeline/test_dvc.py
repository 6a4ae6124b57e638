"""Stages under DVC answer SIGTERM and Ctrl-C, however they reach them."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from miniature import listen_to_interrupts

DVC = [str(Path(sys.executable).with_name("dvc"))]
REPOSITORY = Path(__file__).parents[2]

SAVING = """
import signal, sys, time
from pathlib import Path

def save(*_):
    time.sleep(1)
    Path("saved").touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stage_has_time_to_answer(tmp_path: Path, shell: str, number: int) -> None:
    """The signal reaches every process, as a cluster or a terminal sends it.

    The stage ends a second later.
    """
    rule = (REPOSITORY / "workflow/rules/stages.smk").read_text()
    assert "\"trap '' TERM; NODES={params.nodes} \"" in rule
    _run(["git", "init", "--quiet"], tmp_path)
    _run([*DVC, "init", "--quiet"], tmp_path)
    (tmp_path / "save.py").write_text(SAVING)
    stage = {"cmd": f"{sys.executable} save.py", "deps": ["save.py"], "outs": ["never"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"save": stage}}))
    process = subprocess.Popen(
        ["bash", "-c", f"trap '' TERM; NODES=1 {shlex.join(DVC)} repro"],
        cwd=tmp_path,
        env=os.environ | {"SHELL": shell},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_interrupts,
        start_new_session=True,
    )
    for _ in range(300):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert (tmp_path / "saved").exists()
    assert process.returncode not in (0, -signal.SIGTERM)
    assert not (tmp_path / "never").exists()
    status = said.rpartition(f"failed to run: {sys.executable} save.py, exited with ")[2].strip()
    assert status == "143" or (number == signal.SIGINT and status == "-2")  # of dash itself


def test_a_stage_without_an_answer_ends_at_sigterm(tmp_path: Path) -> None:
    """What starts a stage gives SIGTERM back its meaning, which the rule's shell has taken."""
    program = (
        "import os, signal, time\n"
        "from nextbasis.stages import run\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def main(config):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
        "import sys\n"
        "sys.argv = ['text', 'scale=tiny', 'key=classes', 'text=classes']\n"
        "run('text', main, None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, timeout=60)
    assert done.returncode == -signal.SIGTERM


def _run(command: list[str], folder: Path) -> str:
    settings = os.environ | {"DVC_NO_ANALYTICS": "true"}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
