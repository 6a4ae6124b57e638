"""Differences of two versions: numbers agree with DVC's, causes with what was changed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from command import ROOT
from nextbasis.commands.cli import main
from nextbasis.diff.causes import Causes, flatten
from nextbasis.diff.history import WorkingTree, locked_stages
from nextbasis.diff.numbers import _machines
from nextbasis.diff.unseen import edited, unseen
from results_tree import write_catalog

MAKE = """
import json, sys
from pathlib import Path
from PIL import Image
seed, key, image = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "grid"
lr = json.loads(Path("params.json").read_text())["train"]["lr"]
folder = Path("results/small/score") / key
folder.mkdir(parents=True, exist_ok=True)
values = {"fid": 5 + lr + 0.1 * seed, "is_mean": 2 + 0.001 * lr + 0.1 * seed, "same": 1}
values |= {"kid": 0.05 * lr + 0.01 * seed, "other": lr + 0.12 * seed}
(folder / "score.json").write_text(json.dumps({"values": values, "name": "text", "ok": True}))
if image:
    Image.new("L", (8, 8), int(100 * lr)).save(folder / "grid.png")
"""
RUNS = {"a": 0, "a_s1": 1, "a_s2": 2, "b": 0}


def sh(folder: Path, *command: str) -> str:
    tools = str(Path(sys.executable).parent)
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(folder), "DVC_NO_ANALYTICS": "1"},
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def stage_of(key: str, seed: int) -> dict[str, object]:
    score = f"results/small/score/{key}/score.json"
    body: dict[str, object] = {
        "cmd": f"{sys.executable} make.py {seed} {key} {'grid' if key == 'a' else 'none'}",
        "deps": ["make.py"],
        "params": [{"params.json": ["train"]}],
        "metrics": [{score: {"cache": False}}],
    }
    return body | ({"outs": ["results/small/score/a/grid.png"]} if key == "a" else {})


def claims(folder: Path, verdict: str) -> None:
    path = folder / "results/small/claims/claims.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"claim,verdict\nhelps,{verdict}\nfast,reproduced\n")


def table(folder: Path, value: float) -> None:
    path = folder / "results/small/tables/main.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"group,row,metric,measured,spread\n,A,fid,{value},0.1\n,B,fid,,\n")


def set_lr(folder: Path, lr: float) -> None:
    (folder / "params.json").write_text(json.dumps({"train": {"lr": lr}, "other": 1}))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commits: `empty` without results, `one`, `two` with another rate; the tree is at `two`."""
    folder = tmp_path_factory.mktemp("repository")
    sh(folder, "git", "init", "--quiet", "--initial-branch", "main")
    sh(folder, "git", "config", "user.name", "tester")
    sh(folder, "git", "config", "user.email", "tester@example.org")
    sh(folder, "dvc", "init", "--quiet")
    (folder / "make.py").write_text(MAKE)
    (folder / "workflow").mkdir()
    (folder / "workflow/templates").symlink_to(ROOT / "workflow/templates")
    evals = {
        key: {"run": key, "system": key[0], "seed": seed, "family": "f"}
        for key, seed in RUNS.items()
    }
    (folder / "config").mkdir()
    catalog = {"small": {"evals": evals}, "tables": {"main": {}}}
    write_catalog(folder, catalog)
    stages = {f"score-small-{key}": stage_of(key, seed) for key, seed in RUNS.items()}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / ".gitignore").write_text("workflow\n")
    _commit(folder, "empty")
    for name, lr, verdict in (("one", 0.5, "undecided"), ("two", 1.5, "contradicted")):
        set_lr(folder, lr)
        sh(folder, "dvc", "repro", "--quiet")
        claims(folder, verdict)
        table(folder, 5 + lr)
        _commit(folder, name)
    return folder


def _commit(folder: Path, name: str) -> None:
    sh(folder, "git", "add", "--all")
    sh(folder, "git", "commit", "--quiet", "--message", name)
    sh(folder, "git", "tag", name)


@pytest.fixture(autouse=True)
def inside(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)


def diff(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["diff", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_numbers_are_those_of_dvc(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = diff(capsys, "one", "two", "--json")
    found = json.loads(out)
    theirs = json.loads(sh(repository, "dvc", "metrics", "diff", "one", "two", "--json"))
    ours = {
        path: {k: {n: v[n] for n in ("old", "new", "diff")} for k, v in keys.items()}
        for path, keys in found["metrics"].items()
    }
    assert ours == theirs and len(ours) == len(RUNS)
    assert status == 1 and found["moved"]


def test_noise_is_no_change(capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds of `a` differ by 0.1; the FID moves by 1, IS by 0.001."""
    found = json.loads(diff(capsys, "one", "two", "--json")[1])
    values = found["metrics"]["results/small/score/a/score.json"]
    assert values["values.fid"]["spread"] == pytest.approx(0.1)
    assert values["values.fid"]["moved"] and not values["values.is_mean"]["moved"]
    alone = found["metrics"]["results/small/score/b/score.json"]["values.fid"]
    assert alone["spread"] == pytest.approx(0.1)  # its family's
    cell = found["tables"]["results/small/tables/main.csv"]["A fid"]
    assert cell["diff"] == pytest.approx(1) and cell["moved"]


def test_scores_come_before_other_numbers_that_moved_further(
    capsys: pytest.CaptureFixture[str],
) -> None:
    moved = diff(capsys, "one", "two")[1].split("## Moved")[1].split("## Why")[0]
    keys = re.findall(r"values\.(\w+)", moved)
    assert keys == ["fid"] * len(RUNS) + ["kid"] * len(RUNS) + ["other"] * len(RUNS)


def test_causes_verdicts_and_pictures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    out = diff(capsys, "one", "two")[1]
    assert "parameters params.json.train.lr: 0.5 → 1.5: reaches 4 stages" in out
    assert "small, helps: undecided → contradicted" in out and "fast" not in out
    assert "1 pairs are in DVC's cache" in out
    changed = (line for line in out.splitlines() if "| values.fid |" in line)
    assert all("score-small" in line.split("|")[-2] for line in changed)


def test_threshold_decides_the_exit_status(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diff(capsys, "two", "two")[0] == 0
    assert diff(capsys)[0] == 0  # HEAD against the working tree
    claims(repository, "undecided")
    assert diff(capsys, "one", "--threshold", "9.9")[0] == 1
    assert diff(capsys, "one", "--threshold", "10.1")[0] == 0
    claims(repository, "contradicted")
    assert diff(capsys, "one", "--threshold", "10.1")[0] == 1  # a verdict flipped


def test_page_has_both_pictures_or_says_how_to_get_them(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diff(capsys, "one", "two", "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    lock = yaml.safe_load(sh(repository, "git", "show", "one:dvc.lock"))
    digest = lock["stages"]["score-small-a"]["outs"][0]["md5"]
    path = repository / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    with Image.open(path) as image:
        assert image.getpixel((0, 0)) == 50
    hidden = path.rename(tmp_path / "hidden")
    out = diff(capsys, "one", "two", "--html", str(tmp_path / "page.html"))[1]
    hidden.rename(path)
    assert "results/small/score/a/grid.png, of one (" in out and "dvc fetch" in out
    assert "data:image" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "git knows no revision 'nowhere'"),
        (("empty",), "no recorded results"),
        (("two", "empty"), "`git log --oneline -- dvc.lock` lists revisions that have"),
    ],
)
def test_versions_without_results_are_refused(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = diff(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err and err.startswith("error: ")


def test_stages_are_the_same_in_one_lock_or_in_parts(tmp_path: Path) -> None:
    def lock(*stages: str) -> str:
        entry = {"cmd": "python -m nextbasis.stages.x scale=study"}
        return yaml.safe_dump({"stages": dict.fromkeys(stages, entry)})

    names = ("before", "after")
    before, after = (tmp_path / name / "config/scales/study" for name in names)
    (after / "mar").mkdir(parents=True)
    before.mkdir(parents=True)
    (before / "dvc.lock").write_text(lock("dataset", "reference", "train@mar_b", "tokens@pca"))
    (after / "dvc.lock").write_text(lock("dataset@digits", "reference@digits", "tokens@pca"))
    (after / "mar/dvc.lock").write_text(lock("train@mar_b"))
    found = [set(locked_stages(WorkingTree(tmp_path / name))) for name in names]
    assert found[0] == found[1]
    assert found[0] == {"dataset-study", "reference-study", "train-study@mar_b", "tokens-study@pca"}


def test_causes_go_upstream() -> None:
    def stage(code: str, data: dict[str, str], out: str) -> dict[str, object]:
        deps = [{"path": "src/x.py", "md5": code}]
        deps += [{"path": path, "md5": digest} for path, digest in data.items()]
        return {"cmd": "c", "deps": deps, "outs": [{"path": out, "md5": "0"}]}

    old = {"first": stage("1", {}, "t"), "second": stage("1", {"t": "1"}, "s")}
    new = {"first": stage("2", {}, "t"), "second": stage("1", {"t": "2"}, "s")}
    assert Causes(old, new).explain("s") == "first"
    assert Causes(old, new).all() == [("code src/x.py", ["first"])]
    assert "run again" in Causes(old, old).explain("s")
    assert "one of the versions only" in Causes({}, new).explain("s")
    assert flatten({"a": {"b": 1, "c": [2]}}) == {"a.b": 1, "a.c": [2]}


def test_another_machine_is_a_cause_where_nothing_else_differs() -> None:
    stages = {"score-a": {"cmd": "x", "outs": [{"path": "results/a/score.json"}]}}
    machines = ({"results/a/score.json": "one (AVX2, pinned)"}, {"results/a/score.json": "two"})
    same = "score-a has the same code, parameters and data: "
    path = "results/a/score.json"
    assert Causes(stages, stages, machines).explain(path) == f"{same}one (AVX2, pinned) → two"
    assert Causes(stages, stages, (machines[0], machines[0])).explain(path) == (
        f"{same}it was run again"
    )
    assert Causes(stages, stages).explain(path) == f"{same}it was run again"


def test_machines_are_read_from_the_files_that_name_them() -> None:
    made = {"processor": "CPU", "instructions": "AVX2", "pinned": False}
    files = {"a": made, "b": {"provenance": made | {"pinned": True}}, "c": {"values": {}}}
    assert _machines(files) == {"a": "CPU (AVX2, not pinned)", "b": "CPU (AVX2, pinned)"}


def test_what_was_edited_and_not_run_again_is_told(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "two"]) == 0
    told = capsys.readouterr().out
    assert "Not compared" not in told and "Not everything was compared" not in told
    before = (repository / "params.json").read_text()
    try:
        set_lr(repository, 0.75)
        main(["diff", "two"])
        assert (
            "verdicts flipped. Not everything was compared, see below." in capsys.readouterr().out
        )
        main(["diff", "two", "--json"])
        (told,) = json.loads(capsys.readouterr().out)["unseen"]
        assert "params.json, train.lr: " in told and "→ 0.75" in told
        assert (
            "(not run since: score-small-a, score-small-a_s1, score-small-a_s2 and 1 more)" in told
        )
    finally:
        (repository / "params.json").write_text(before)


def test_what_ran_since_it_was_edited_is_not_said_to_lag_behind(tmp_path: Path) -> None:
    tree = WorkingTree(tmp_path, "here")
    (tmp_path / "lr.yaml").write_text("lr: 3\n")
    ran = {name: {"params": {"lr.yaml": {"lr": lr}}} for name, lr in (("a", 3), ("b", 2))}
    (told,) = edited(tree, {f"train-tiny@{name}": stage for name, stage in ran.items()})
    assert told == (
        "edited: lr.yaml, lr: 2 → 3 (not run since: train-tiny@b); "
        "what depends on it, and whatever else is missing at its scale, is made by "
        "`snakemake --cores 2 --config scale=tiny`"
    )
    assert not edited(tree, {"train-tiny@a": ran["a"]})


def test_files_of_a_scale_that_one_version_lacks_are_told_as_the_scale(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, made = repository / "config/scales/fresh", repository / "results/fresh"
    try:
        for path in (folder, made):
            path.mkdir(parents=True)
        (made / "score.json").write_text('{"values": {"fid": 1}}')
        stage = {"cmd": "true scale=fresh", "outs": [{"path": "results/fresh/score.json"}]}
        (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {"score@a": stage}}))
        _, out, _ = diff(capsys, "two", "--json")
    finally:
        for path in (folder, made):
            shutil.rmtree(path)
    told = json.loads(out)
    assert any(text.startswith("fresh: two") for text in told["unseen"])
    assert not told["only_new"]


def test_each_scale_of_what_was_edited_has_its_command(tmp_path: Path) -> None:
    (tmp_path / "lr.yaml").write_text("lr: 3\n")
    stage = {"params": {"lr.yaml": {"lr": 2}}}
    (told,) = edited(WorkingTree(tmp_path, ""), {"train-tiny@a": stage, "train-cpu@a": stage})
    commands = [f"`snakemake --cores 2 --config scale={scale}`" for scale in ("cpu", "tiny")]
    assert told.endswith(f"is made by {commands[0]}, {commands[1]}")


def test_scales_of_one_version_are_told() -> None:
    old = WorkingTree(Path("nowhere"), "the old one")
    new = WorkingTree(Path("nowhere"), "the new one")
    stages = {"train-cpu@a": {"cmd": ""}}, {"train-cpu@a": {"cmd": ""}, "dataset-tiny": {"cmd": ""}}
    told = unseen(old, new, stages, Path("nowhere"))
    assert told == ["tiny: the old one has no results of it, so nothing of the new one is compared"]
    assert not unseen(old, new, (stages[0], stages[0]), Path("nowhere"))
