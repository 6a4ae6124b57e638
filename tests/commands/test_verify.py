"""`nextbasis verify`: a clone makes results again; every digit is compared with the last commit."""

import json
import os
import sys
from pathlib import Path

import pytest

from miniature import SCALE, Project, environment
from nextbasis.commands import verify
from nextbasis.commands.cli import main
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
def test_a_clone_gives_the_committed_digits_or_tells_which_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    project = Project.create(tmp_path)
    project.run("git", "add", "--force", "behaviour.json")  # which the fake stages read
    project.run("dvc", "repro", "score@mar_b")
    score = project.root / f"results/{SCALE}/score/mar_b/score.json"
    made = score.read_text()
    score.write_text(json.dumps({"value": 1}))
    project.commit("another number")
    monkeypatch.chdir(project.root)
    for name, value in (environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}).items():
        monkeypatch.setenv(name, value)
    command = ["verify", "mar_b", "--scale", SCALE]
    assert main(command) == 1
    said = capfd.readouterr().out
    remade = json.loads(made)["value"]
    assert f"score.json: 0 of 1 numbers agree\n  value: 1 → {remade}\n" in said
    assert said.count(": 1 of 1 numbers agree\n") > 3 and said.count(" → ") == 1
    assert score.read_text() == '{"value": 1}'

    score.write_text(made)
    project.commit("its own number")
    monkeypatch.setattr(verify, "remake", lambda _clone, _address, paths: read_committed(paths))
    assert main(command) == 0
    assert capfd.readouterr().out.endswith(" numbers agree to the last digit.\n")
    assert main(["verify", "none", "--scale", SCALE]) == 1
    assert "no evaluation 'none' at scale cpu" in capfd.readouterr().err
