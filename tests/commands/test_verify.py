"""`nextbasis verify`: a clone makes results again; every digit is compared with the last commit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from miniature import SCALE, Project, environment
from nextbasis.commands.verify import numbers, read_committed, report

MADE = {"processor": "some CPU", "instructions": "AVX2", "pinned": True}


def test_numbers_are_those_that_a_result_states() -> None:
    content = {"a": 1, "b": {"c": 0.5, "d": "text", "e": [2, None, {"f": 3}]}, "g": True}
    content |= {"provenance": {"threads": 1}, "versions": {"x": 2}}
    assert numbers(content) == {"a": 1, "b.c": 0.5, "b.e.0": 2, "b.e.2.f": 3}


def test_a_last_digit_is_found_and_the_machine_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    before = {"fid": 2.5, "is": 3.0, "provenance": MADE}
    after = {"fid": 2.5000000000000004, "is": 3.0, "provenance": MADE | {"instructions": "AVX512"}}
    assert report({"a.json": before}, {"a.json": after}) == 1
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "a.json: 1 of 2 numbers agree",
        "  fid: 2.5 → 2.5000000000000004",
        "  made by some CPU (AVX2, pinned) → some CPU (AVX512, pinned)",
        "1 of 2 numbers agree to the last digit.",
    ]
    assert report({"a.json": before}, {"a.json": before}) == 0


def test_results_that_were_never_committed_are_named() -> None:
    with pytest.raises(FileNotFoundError, match="the last commit has no results/no.json"):
        read_committed(["results/no.json"])


@pytest.mark.slow
def test_a_clone_gives_the_committed_digits_or_tells_which_differ(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = Project.create(tmp_path / "project")
    project.run("git", "add", "--force", "behaviour.json")  # which the fake stages read
    project.run("dvc", "repro", "score@mar_b")
    project.commit("results")
    command = [sys.executable, "-m", "nextbasis", "verify", "mar_b", "--scale", SCALE]
    packages = os.pathsep.join(sys.path)

    def verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=project.root,
            env=environment() | {"PYTHONPATH": packages},
            capture_output=True,
            text=True,
        )

    done = verify()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("numbers agree to the last digit.")
    score = project.root / f"results/{SCALE}/score/mar_b/score.json"
    score.write_text(json.dumps({"value": 1}))
    project.commit("another number")
    done = verify()
    assert done.returncode == 1 and "value: 1 → " in done.stdout
    assert score.read_text() == '{"value": 1}'
    done = subprocess.run([*command[:4], "none"], cwd=project.root, capture_output=True, text=True)
    assert done.returncode == 1 and "no evaluation 'none' at scale cpu" in done.stderr
