"""Snakemake and DVC together, on a miniature with fake stages: what runs, what survives a failure.

Rows of the failure table: two trainings run, something dies, and afterwards a plain `snakemake`
leaves everything right, with as few trainings repeated as can be.
"""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from miniature import SCALE, Project, parent_of, recipe, stop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="signals are tested by way of /proc"),
]
NOTHING = "Nothing to be done"
MAR, XAR = "train mar_b", "train xar_b"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A miniature whose first run is complete, known to be so and committed; only to be copied."""
    project = Project.create(tmp_path_factory.mktemp("miniature"))
    project.snakemake()
    assert NOTHING in project.snakemake()  # it remembers the record of the first
    project.commit("first run")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    return finished.copy(tmp_path / "copy")


@pytest.fixture(scope="module")
def widened(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same after a hyperparameter has changed, committed again; only to be copied."""
    project = finished.copy(tmp_path_factory.mktemp("widened") / "copy")
    project.set_model("xar_b", 2)
    project.snakemake()
    project.commit("another width")
    return project


@pytest.fixture
def training(project: Project) -> Project:
    """A project whose two trainings are to be repeated and end only when released."""
    project.set_runs("mar_b", "xar_b", evaluated=("xar_b",))
    project.set_model("mar_b", 2)
    project.set_model("xar_b", 2)
    project.hold()
    return project


def check_recovery(project: Project, *trained: str) -> None:
    """A plain run ends well, trains exactly these and leaves nothing to do, as DVC says too."""
    project.forget()
    project.behave()
    project.release()
    project.snakemake()
    assert sorted(project.trained().elements()) == sorted(trained)
    assert NOTHING in project.snakemake()  # which asks `dvc status` first


def test_first_run_is_complete(project: Project) -> None:
    assert project.status() == {}
    tracked = project.run("git", "ls-files", "results").stdout.split()
    assert f"results/{SCALE}/score/mar_b/score.json" in tracked
    assert f"results/{SCALE}/train/mar_b/metrics.json" in tracked
    assert f"results/{SCALE}/sample/mar_b/speed.json" in tracked
    assert f"results/{SCALE}/tables/main.md" in tracked
    names = {Path(path).name for path in tracked}
    assert names == {"score.json", "metrics.json", "speed.json", "main.md"}
    assert not list((project.root / "results").rglob(".gitignore"))


def test_one_hyperparameter_reruns_only_what_it_reaches(widened: Project) -> None:
    assert widened.executed() == {XAR: 1, "sample xar_b": 1, "score xar_b": 1}
    assert widened.status() == {}


def test_dvc_alone_is_enough_for_snakemake(project: Project) -> None:
    """Everything is made by DVC in tests/pipeline/test_remote.py; then only the table is due."""
    project.set_model("xar_b", 2)
    project.run("dvc", "repro", "--glob", "train@*")
    plan = project.snakemake("--dry-run")
    assert "rule train:" not in plan and "rule sample:" in plan


def test_failed_stage_is_tried_again(project: Project) -> None:
    project.set_model("xar_b", 2)
    project.behave(fail=(XAR,))
    assert "fails as told" in project.snakemake(ok=False)
    assert project.trained() == {XAR: 1}
    check_recovery(project, XAR)


def test_going_back_restores_without_training(
    finished: Project, widened: Project, tmp_path: Path
) -> None:
    project = widened.copy(tmp_path / "copy")
    made = [f"results/{SCALE}/{name}" for name in ("tables/main.md", "score/xar_b/score.json")]
    made.append(f"results/{SCALE}/train/xar_b/metrics.json")
    before, after = ([(of.root / path).read_text() for path in made] for of in (finished, project))
    assert all(old != new for old, new in zip(before, after, strict=True))
    first, second = project.run("git", "rev-parse", "HEAD~1", "HEAD").stdout.split()

    def differences(what: str, *targets: str) -> object:
        command = ("dvc", what, "diff", "--json", first, second, "--targets", *targets)
        return json.loads(project.run(*command).stdout)

    scores = [f"results/{SCALE}/score/{key}/score.json" for key in ("mar_b", "xar_b")]
    assert list(differences("metrics", *scores)) == scores[1:]
    model = recipe("xar_b")
    assert differences("params", model) == {model: {"value": {"old": 1, "new": 2, "diff": 1}}}
    everything = project.run("python", "-m", "nextbasis", "diff", first, second, ok=False).stdout
    assert scores[1] in everything and "value: 1 → 2" in everything
    assert scores[0] not in everything

    project.run("git", "checkout", "--quiet", first)
    project.snakemake()
    assert project.executed() == {}
    assert [(project.root / path).read_text() for path in made] == before
    assert project.status() == {}
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_run_cache_restores_metrics_that_are_not_cached(
    finished: Project, widened: Project, tmp_path: Path
) -> None:
    project = widened.copy(tmp_path / "copy")
    name = f"results/{SCALE}/train/xar_b/metrics.json"
    project.set_model("xar_b", 1)
    (project.root / name).unlink()
    project.run("dvc", "repro", "--single-item", "train@xar_b")  # what its job runs
    assert project.executed() == {}
    assert (project.root / name).read_text() == (finished.root / name).read_text()


def test_a_copy_in_a_folder_of_any_name_goes_on(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "it's größe [1] 猫")
    project.set_model("xar_b", 2)
    check_recovery(project, XAR)


def test_eight_jobs_at_once_share_the_lock(project: Project) -> None:
    keys = [f"{family}_{number}" for family in ("mar", "xar") for number in range(4)]
    project.set_runs(*keys, evaluated=(keys[0],))
    project.behave(train=0.5)
    project.run("snakemake", "--cores", "8", "--until", "train")
    locked = (project.root / "dvc.lock").read_text()
    trainings = [f"train@{key}" for key in keys]
    assert all(f"  {name}:" in locked for name in trainings)
    assert project.executed() == {f"train {key}": 1 for key in keys}
    assert not project.status().keys() & set(trainings)


def test_interrupt_ends_all_and_reruns(training: Project) -> None:
    process = training.start()
    assert stop(process, signal.SIGINT) != 0
    assert training.running("train") == []
    check_recovery(training, MAR, XAR)


def test_sigterm_lets_trainings_finish(training: Project) -> None:
    process = training.start()
    process.send_signal(signal.SIGTERM)
    training.release()
    assert process.wait(timeout=60) != 0
    check_recovery(training)


def test_killed_snakemake_leaves_trainings_to_finish(training: Project) -> None:
    process = training.start()
    process.kill()
    process.wait(timeout=60)
    assert len(training.running("train")) == 2
    assert "LockException" in training.snakemake(ok=False)
    training.run("snakemake", "--unlock")
    blocked = training.snakemake(ok=False)
    assert "dvc status failed" in blocked and "busy" in blocked
    assert len(training.running("train")) == 2
    training.release()
    training.wait_for(lambda: not training.running("train"))
    training.wait_for(lambda: _dvc_is_idle(training))
    check_recovery(training)


def test_killed_group_needs_unlock_only(training: Project) -> None:
    process = training.start()
    stop(process, signal.SIGKILL)
    for pid in training.running("train"):
        os.kill(pid, signal.SIGKILL)
    training.run("snakemake", "--unlock")
    check_recovery(training, MAR, XAR)


def test_killed_training_or_its_dvc_fails_that_job_alone(training: Project) -> None:
    """Of three trainings one is killed, and the DVC of another; only the third is kept."""
    training.set_runs("mar_b", "xar_b", "xar_c", evaluated=("xar_b",))
    process = training.start(3)
    killed, without_dvc, _ = training.running("train")
    os.kill(killed, signal.SIGKILL)
    os.kill(parent_of(without_dvc, "dvc"), signal.SIGKILL)
    names = [training.name_of(pid) for pid in (killed, without_dvc)]
    training.release()
    assert process.wait(timeout=60) != 0
    training.wait_for(lambda: not training.running("train"))
    check_recovery(training, *names)


def test_lock_of_a_reused_pid_goes_when_deleted(project: Project) -> None:
    project.set_model("xar_b", 2)
    rwlock = project.root / ".dvc/tmp/rwlock"
    output = project.root / f"results/{SCALE}/train/xar_b/metrics.json"
    owner = {"pid": os.getpid(), "cmd": "dvc repro, long dead; another process has its number"}
    rwlock.write_text(json.dumps({"write": {str(output): owner}}))
    blocked = project.snakemake(ok=False)
    assert "busy" in blocked and str(os.getpid()) in blocked and ".dvc/tmp/rwlock" in blocked
    rwlock.unlink()
    check_recovery(project, XAR)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.97])
def test_halves_of_records_are_mended_and_nothing_is_made_again(
    project: Project, share: float
) -> None:
    lock, rwlock = project.root / "dvc.lock", project.root / ".dvc/tmp/rwlock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: int(share * len(whole))])
    rwlock.write_text('{"write": {', encoding="utf-8")
    project.snakemake()
    assert not project.executed()
    assert NOTHING in project.snakemake()


def _dvc_is_idle(project: Project) -> bool:
    return project.run("dvc", "status", ok=False).returncode == 0
