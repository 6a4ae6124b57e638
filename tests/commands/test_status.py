"""`nextbasis status`: counts, what runs, and the time left, on files that the test makes."""

import base64
import json
import os
import re
from pathlib import Path

import pytest

from command import ROOT, refused
from nextbasis.commands.cli import main
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import Stage, load_stages

EXTRA = re.findall(
    r"^  (\w+): .*extra: true",
    (ROOT / "config/scales/tiny/catalog.yaml").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("config", "src", "catalog.yaml", "dvc.yaml"):
        Path(name).symlink_to(ROOT / name)


def stages() -> list[Stage]:
    """What `make tables` makes of the scale."""
    every = [stage for stage in load_stages(load_catalog(), only=["tiny"]) if not stage.frozen]
    return [stage for stage in every if stage.key not in EXTRA]


def make(stage: Stage, when: float) -> None:
    """Its outputs, as of a time."""
    for path in map(Path, stage.outs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (when, when))


def status(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["status", "--scale", "tiny", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_what_is_made_is_counted_and_what_is_older_than_its_data_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    total, trainings = len(stages()), sum(stage.kind == "train" for stage in stages())
    assert status(capsys)[0] == f"scale tiny: 0 of {total} stages are made"
    for age, stage in enumerate(stages()):
        make(stage, 1000 + age)
    lines = status(capsys)
    assert EXTRA  # none of which was made
    assert lines[0] == f"scale tiny: {total} of {total} stages are made"
    assert lines[-1] == "nothing is left"
    remade = next(stage for stage in stages() if (stage.kind, stage.key) == ("train", "xar_b_klt"))
    make(remade, 5000)
    assert status(capsys)[0] == f"scale tiny: {total - 1} of {total} stages are made"  # its samples
    Path(remade.outs[0]).unlink()
    assert any(
        line.split()[:4] == ["train", str(trainings - 1), "of", str(trainings)]
        for line in status(capsys)
    )


def test_the_time_left_is_that_of_the_same_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    trainings = [stage for stage in stages() if stage.kind == "train"]
    for age, stage in enumerate(stages()):
        if stage.kind not in ("train", "heldout"):
            make(stage, 1000 + age)
    folder = Path(".snakemake/metadata")
    folder.mkdir(parents=True)
    for number, (kind, seconds) in enumerate((("train", 100), ("train", 140), ("score", 9))):
        record = {"rule": kind, "log": [f"results/tiny/logs/{kind}/{number}.log"]}
        record |= {"starttime": 50.0 * number, "endtime": 50.0 * number + seconds}
        name = base64.b64encode(f"results/tiny/{kind}/{number}".encode()).decode()
        (folder / name).write_text(json.dumps(record), encoding="utf-8")
    last = status(capsys, "--cores", "4")[-1]
    minutes = 120 * len(trainings) / 4 / 60
    assert f"about {minutes:.0f} minutes on 4 cores; no heldout has run here yet" in last


def test_the_time_left_is_that_of_the_family_and_what_is_missing_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    left = [stage for stage in stages() if stage.kind == "train"]
    for age, stage in enumerate(stages()):
        if stage.kind != "train":
            make(stage, 1000 + age)
    seconds = {"mar_b": 60.0, "mar_b_bar": 180.0, "xar_b": 600.0}
    folder = Path(".snakemake/metadata")
    folder.mkdir(parents=True)
    for number, (key, took) in enumerate(seconds.items()):
        record = {"rule": "train", "log": [f"results/tiny/logs/train/{key}.log"]}
        record |= {"starttime": 1000.0 * number, "endtime": 1000.0 * number + took}
        (folder / str(number)).write_text(json.dumps(record), encoding="utf-8")
    families = [load_catalog()["tiny"]["runs"][stage.key]["family"] for stage in left]
    mean = {"mar": 120, "xar": 600}
    total = sum(mean.get(family, sum(seconds.values()) / 3) for family in families)
    lines = status(capsys, "--cores", "2")
    assert set(families) == {"mar", "xar", "rar"}
    assert lines[-1] == f"left: {len(left)} stages, about {total / 2 / 60:.0f} minutes on 2 cores"
    (line,) = (line for line in lines if line.split()[0] == "train")
    named = ", ".join(stage.key for stage in left[:3])
    assert line.endswith(f"280 s each  missing: {named} and {len(left) - 3} more")


def test_one_stage_of_some_seconds_is_told_in_the_singular(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for age, stage in enumerate(stages()):
        make(stage, 1000 + age)
    Path(stages()[-1].outs[0]).unlink()
    kind = stages()[-1].kind
    folder = Path(".snakemake/metadata")
    folder.mkdir(parents=True)
    for seconds, told in ((20, "less than a minute"), (60, "about 1 minute")):
        record = {"rule": kind, "log": [f"results/tiny/logs/{kind}/x.log"], "starttime": 0.0}
        (folder / "0").write_text(json.dumps(record | {"endtime": seconds}), encoding="utf-8")
        assert status(capsys, "--cores", "1")[-1] == f"left: 1 stage, {told} on 1 core"


def test_what_runs_is_shown_with_the_last_line_of_its_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = "config/scales/tiny/dvc.yaml:train@xar_b"
    holder = {"pid": os.getpid(), "cmd": f"dvc repro --single-item {address}"}
    gone = {
        "pid": 2**22 + 1,
        "cmd": "dvc repro --single-item config/scales/tiny/dvc.yaml:dataset@digits",
    }
    Path(".dvc/tmp").mkdir(parents=True)
    locks = {"read": {}, "write": {"a": holder, "b": gone}}
    Path(".dvc/tmp/rwlock").write_text(json.dumps(locks), encoding="utf-8")
    log = Path("results/tiny/logs/train/xar_b.log")
    log.parent.mkdir(parents=True)
    log.write_text("train xar_b: 10/40 steps\n\n", encoding="utf-8")
    shown = [line for line in status(capsys) if line.startswith("running")]
    assert shown == [f"running: {address}  train xar_b: 10/40 steps"]


def test_bad_input_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "scale must be one of" in refused(capsys, "status", "--scale", "huge")
    assert "--cores must be at least 1, got 0" in refused(capsys, "status", "--cores", "0")
