"""nextbasis.dvc reads dvc.lock and leaves it as DVC does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nextbasis.dvc import entries

DVC = [str(Path(sys.executable).with_name("dvc"))]
QUICK = [sys.executable, "-m", "nextbasis.dvc"]
LONG = "a sentence that is longer than a line of YAML may be before it is folded: " * 2

SAVING = """
import signal, sys, time
from pathlib import Path

def save(*_):
    time.sleep(1)
    Path("saved").touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
Path("ready").touch()
time.sleep(60)
"""


def test_lock_is_dvcs_own(tmp_path: Path) -> None:
    """First stages, one more in between, changes of the first, the middle and the last."""
    folders = [tmp_path / "dvc", tmp_path / "quick"]
    steps = [("a", "c", {}), ("a", "b", "c", {}), ("a", "b", "c", {"a": 1, "c": LONG})]
    steps += [("a", "ab", "b", "c", {"b": f"one\n\n  two: #\n{LONG}", "ab": [1, {"x": None}]})]
    for folder in folders:
        folder.mkdir()
        _run(["git", "init", "--quiet"], folder)
        _run([*DVC, "init", "--quiet"], folder)
    for *names, values in steps:
        locks = []
        for folder, program in zip(folders, (DVC, QUICK), strict=True):
            _write(folder, names, values)
            _run([*program, "repro"], folder)
            locks.append((folder / "dvc.lock").read_text())
        assert locks[0] == locks[1]
        assert set(yaml.safe_load(locks[1])["stages"]) == set(names)


def test_verdict_is_dvcs_own(tmp_path: Path) -> None:
    """Single stages and groups, of which one reads what the other makes, from absent to clean."""
    _run(["git", "init", "--quiet"], tmp_path)
    _run([*DVC, "init", "--quiet"], tmp_path)
    _write(tmp_path, ["a", "b"], {})
    pipeline = yaml.safe_load((tmp_path / "dvc.yaml").read_text())
    for group, read in {"make": "a.txt", "use": "make-${item}.txt"}.items():
        made = f"{group}-${{item}}.txt"
        each = {"cmd": f"echo > {made}", "deps": [read, "code"], "outs": [made]}
        pipeline["stages"][group] = {"foreach": "${items}", "do": each}
    pipeline["vars"] = [{"items": ["x", "y.z"]}]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(pipeline))

    def verdict() -> dict[str, object]:
        status = ["--wait-for-lock", "status", "--json", "a", "b", "make", "use"]
        said = [_run([*program, *status], tmp_path) for program in (DVC, QUICK)]
        assert said[0] == said[1]
        return json.loads(said[1])

    assert set(verdict()) == {"a", "b", "make@x", "make@y.z", "use@x", "use@y.z"}
    _run([*QUICK, "repro"], tmp_path)
    assert verdict() == {}
    (tmp_path / "params.yaml").write_text("a: 0\nb: 1\n")
    (tmp_path / "use-x.txt").unlink()
    (tmp_path / "make-y.z.txt").write_text("other")
    assert verdict() == {
        "b": [{"changed deps": {"params.yaml": {"b": "modified"}}}],
        "make@y.z": [{"changed outs": {"make-y.z.txt": "modified"}}],
        "use@x": [{"changed outs": {"use-x.txt": "deleted"}}],
        "use@y.z": [{"changed deps": {"make-y.z.txt": "modified"}}],
    }
    lock = tmp_path / "dvc.lock"
    lock.write_text("# not as DVC writes it\n" + lock.read_text())
    assert set(verdict()) == {"b", "use@x", "make@y.z", "use@y.z"}


@pytest.mark.parametrize(
    "body",
    [
        "  a:\n    cmd: x\n  a:\n    cmd: y\n",  # twice
        "  1:\n    cmd: x\n",  # a number
        "  'true':\n    cmd: x\n",
        "  a:\n    cmd: &one x\n  b:\n    cmd: *one\n",
        "  a:\n    cmd: [&one x]\n",
        "  a: {cmd: x}\n",
        "  a:\n    cmd: x\n<<<<<<< ours\n",
        "  a:\n    cmd: x\ndatasets: []\n",
        "  # of mine\n  a:\n    cmd: x\n",
        "    a:\n        cmd: x\n",
    ],
)
def test_what_cannot_be_parsed_by_the_stage_is_parsed_whole(body: str) -> None:
    head = "schema: '2.0'\nstages:\n"
    assert entries(head + "  z:\n    cmd: x\n") == {"  z:\n": "  z:\n    cmd: x\n"}
    assert entries(head + body) is None
    assert entries("stages:\n" + body) is None


def test_other_layouts_are_left_to_dvc(tmp_path: Path) -> None:
    _run(["git", "init", "--quiet"], tmp_path)
    _run([*DVC, "init", "--quiet"], tmp_path)
    _write(tmp_path, ["a"], {})
    _run([*QUICK, "repro"], tmp_path)
    lock = tmp_path / "dvc.lock"
    lock.write_text("# mine\n" + lock.read_text() + "datasets: []\n")
    _write(tmp_path, ["a", "b"], {"a": 2})
    said = _run([*QUICK, "repro", "b"], tmp_path)
    assert "Updating lock file 'dvc.lock'" in said
    assert lock.read_text().startswith("# mine\n")
    assert set(yaml.safe_load(lock.read_text())["stages"]) == {"a", "b"}


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
def test_a_stage_has_time_to_answer_sigterm(tmp_path: Path, shell: str) -> None:
    """The signal reaches every process, as a cluster sends it; the stage ends a second later."""
    _run(["git", "init", "--quiet"], tmp_path)
    _run([*DVC, "init", "--quiet"], tmp_path)
    (tmp_path / "save.py").write_text(SAVING)
    stage = {"cmd": f"{sys.executable} save.py", "deps": ["save.py"], "outs": ["never"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"save": stage}}))
    process = subprocess.Popen(
        [*QUICK, "repro"],
        cwd=tmp_path,
        env=os.environ | {"SHELL": shell},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for _ in range(300):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (tmp_path / "saved").exists()
    assert process.returncode not in (0, -signal.SIGTERM)
    assert f"failed to run: {sys.executable} save.py, exited with 143" in said


def _write(folder: Path, names: list[str], values: dict[str, object]) -> None:
    """A pipeline of these stages, each with a parameter and with the folder that all read."""
    stages = {
        name: {
            "cmd": f"echo {name} {LONG if name == 'c' else ''}> {name}.txt",
            "deps": ["code"],
            "params": [{"params.yaml": [name]}],
            "outs": [f"{name}.txt"],
        }
        for name in names
    }
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code/module.py").write_text("")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    values = dict.fromkeys(names, 0) | values
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def _run(command: list[str], folder: Path) -> str:
    settings = os.environ | {"DVC_NO_ANALYTICS": "true"}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
