"""What GenEval's program found becomes a score: accuracies by tag and their mean."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from command import ROOT
from nextbasis.commands.cli import main
from nextbasis.commands.geneval import TAGS, accuracies, read_results
from nextbasis.support.files import read_json, sha256

RESULTS = Path("results.jsonl")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)


def line(prompt: int, sample: int, tag: str, correct: bool) -> dict[str, Any]:
    """What the program writes of one image."""
    return {
        "filename": f"images/{prompt:05d}/samples/{sample:04d}.png",
        "tag": tag,
        "prompt": f"a photo of {prompt}",
        "correct": correct,
        "reason": "" if correct else "expected bench>=1, found 0",
        "metadata": json.dumps({"tag": tag, "prompt": f"a photo of {prompt}"}),
        "details": "{}",
    }


def write(lines: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(lines)
    frame.to_json(RESULTS, orient="records", lines=True)  # as the program does
    return frame


def some_lines() -> list[Any]:
    """Four images of each prompt, unequally many prompts of each tag."""
    random = np.random.default_rng(0)
    tags = np.repeat(TAGS, [3, 5, 4, 6, 2, 7])
    return [
        line(prompt, sample, str(tag), bool(random.random() < 0.4))
        for prompt, tag in enumerate(tags)
        for sample in range(4)
    ]


def test_score_is_the_mean_of_the_accuracies_of_the_tags(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = write(some_lines())
    assert main(["geneval", str(RESULTS), "--run", "mar_b", "--scale", "cpu"]) == 0
    found = read_json(Path("results/cpu/geneval/mar_b/score.json"))
    wanted = frame.groupby("tag")["correct"].mean()
    for tag in TAGS:
        assert found["values"][f"geneval_{tag}"] == pytest.approx(wanted[tag])
    assert found["values"]["geneval"] == pytest.approx(wanted.mean())
    assert found["values"]["geneval"] != pytest.approx(frame["correct"].mean())
    assert f"{wanted.mean():.5f}" in capsys.readouterr().out
    protocol = found["protocol"]
    assert protocol["num_images"] == len(frame) == 108
    assert protocol["num_prompts"] == frame["metadata"].nunique() == 27
    assert protocol["images_per_tag"] == frame["tag"].value_counts().to_dict()
    assert found["provenance"]["results_sha256"] == sha256(RESULTS)


def test_all_and_nothing_correct() -> None:
    for correct in (True, False):
        write([line(number, 0, tag, correct) for number, tag in enumerate(TAGS)])
        assert set(accuracies(read_results(RESULTS)).values()) == {float(correct)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tag": "style"}, "line 2: tag must be one of single_object, .* got 'style'"),
        ({"correct": 1}, "line 2: correct must be true or false, got 1"),
        ({"metadata": None}, "line 2 has no metadata"),
    ],
)
def test_a_bad_line_is_named(change: dict[str, Any], message: str) -> None:
    lines = some_lines()
    lines[1] = {key: value for key, value in (lines[1] | change).items() if value is not None}
    RESULTS.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_results(RESULTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds results of 0 images"), ("\n", "0 images"), ("[1]\n", "has no filename, tag")],
)
def test_files_without_results_are_refused(text: str, message: str) -> None:
    RESULTS.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_results(RESULTS)


def test_damaged_absent_and_partial_files_are_refused() -> None:
    with pytest.raises(FileNotFoundError, match="no file absent.jsonl"):
        read_results(Path("absent.jsonl"))
    RESULTS.write_text('{"filename": "a', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 is not JSON"):
        read_results(RESULTS)
    write([each for each in some_lines() if each["tag"] != "counting"])
    with pytest.raises(ValueError, match="has no image of counting: the overall score is the mean"):
        read_results(RESULTS)


def test_an_unknown_evaluation_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write(some_lines())
    assert main(["geneval", str(RESULTS), "--run", "nothing", "--scale", "cpu"]) == 1
    assert "no evaluation 'nothing' at scale cpu; choose among" in capsys.readouterr().err
