"""First steps: what is missing is found with the way to get it; help and completion."""

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from command import ROOT
from nextbasis.commands import doctor
from nextbasis.commands.cli import COMMANDS, command_line, main
from nextbasis.commands.completion import SHELLS
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages
from nextbasis.support.files import sha256
from results_tree import write_catalog

# A command's file is called as the command
NAMED = {Path(file.__file__).stem.rstrip("_").replace("_", "-"): file for file in COMMANDS}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("NEXTBASIS_DATA", raising=False)


def found(scale: str) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine(scale)}


def test_tiny_needs_nothing_that_is_not_shipped() -> None:
    checks = found("tiny")
    assert not checks["Python"].advice and not checks["torch"].advice
    assert "digits" in checks["data"].found or "made already" in checks["data"].found
    assert not checks["weights of evaluation"].advice


def test_missing_files_of_the_paper_scale_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_planned", lambda scale: 1)  # to count it takes long
    checks = found("imagenet256")
    if not Path("data").exists():
        assert "NEXTBASIS_DATA" in checks["data"].advice
        assert "data/kl16.ckpt is missing" in checks["weights of kl16"].found
        assert "config/tokenizer/kl16.yaml" in checks["weights of kl16"].advice
        text = doctor.text(list(checks.values()))
        assert "MISSING data" in text and "7 of" in text
    monkeypatch.setenv("NEXTBASIS_DATA", str(tmp_path))
    assert str(tmp_path) in found("imagenet256")["data"].found


def test_what_a_paper_scale_is_planned_for_is_told_in_warnings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    usage = doctor.shutil.disk_usage(".")._replace(free=10**11)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    page = Path("docs/paper-scale.md").read_text(encoding="utf-8").partition("### ffhq256")[2]
    kept = int(page.partition("all that is kept")[2].split()[1])
    checks = found("ffhq256")
    assert {name for name, check in checks.items() if check.mark == "warning"} == {
        *("torch", "sbatch", "disk")
    }
    told = checks["disk"].found
    assert told.startswith("100.0 GB free; ") and "docs/paper-scale.md" in checks["disk"].advice
    size = told.split(" take ")[1].split()[0].replace(",", "")
    assert float(size) == pytest.approx(2 * kept, abs=1)  # the cache holds all again
    assert "resources.yaml plans up to 8 GPUs a node: docs/how-to/" in checks["torch"].advice
    assert "profiles/slurm" in checks["sbatch"].advice
    assert not found("cpu")["torch"].advice and "sbatch" not in found("cpu")


def test_a_warning_alone_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fine, warned = doctor.Check("a", "b"), doctor.Check("c", "d", "e", needed=False)
    monkeypatch.setattr(doctor, "examine", lambda scale: [fine, warned])
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("→ e\nEverything needed is there; warnings: 1.\n")
    monkeypatch.setattr(doctor, "examine", lambda scale: [warned, doctor.Check("c", "d", "e")])
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.endswith("1 of 2 need attention; warnings: 1.\n")


def test_weights_are_checked_by_content(tmp_path: Path) -> None:
    weights, config = tmp_path / "w.bin", tmp_path / "some.yaml"
    config.write_text(yaml.safe_dump({"weights": str(weights), "weights_sha256": "0" * 64}))
    weights.write_bytes(b"weights")
    check = doctor._weight(config)
    assert check is not None and "another SHA-256" in check.found and "0" * 64 in check.advice
    config.write_text(yaml.safe_dump({"weights": str(weights), "weights_sha256": sha256(weights)}))
    assert doctor._weight(config) == doctor.Check("weights of some", str(weights))
    config.write_text("kind: vq")
    assert doctor._weight(config) is None


def test_other_packages_old_python_and_full_disks_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LOCK", tmp_path / "lock")
    (tmp_path / "lock").write_text("numpy==0.1\nno-such-package==1\n")
    check = doctor._packages()
    assert check.found == "0 of 2 are the pinned ones"
    assert check.advice.startswith("make setup") and "no-such-package not installed" in check.advice
    monkeypatch.setattr(doctor, "LEAST_PYTHON", (99, 0))
    assert "make PYTHON=" in doctor._python().advice
    monkeypatch.chdir(tmp_path)
    write_catalog(tmp_path, {"tiny": {"evals": {}}, "tables": {}})
    stages = {"made": {"cmd": "x", "outs": [{"path": "a", "size": 10**12}]}}
    Path("config/scales/tiny/dvc.lock").write_text(
        yaml.safe_dump({"stages": stages}), encoding="utf-8"
    )
    usage = doctor.shutil.disk_usage(".")._replace(free=10**11)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(doctor, "_planned", lambda scale: 0)
    check = doctor._disk("tiny", load_catalog())
    assert "the results that config/scales/tiny/dvc.lock records" in check.found
    assert check.found.endswith("cache of them take 2,000.0 GB")
    assert check.advice == "free 1,900.0 GB, or clone to another disk" and check.needed


def test_a_folder_of_caches_that_takes_no_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "file").write_text("no folder, for root as for anybody")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    check = doctor._caches()
    assert check.found.startswith(f"{tmp_path / 'file' / '.cache'} cannot be written")
    assert "XDG_CACHE_HOME" in check.advice
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert doctor._caches() == doctor.Check("caches", str(tmp_path / "caches"))
    assert not list((tmp_path / "caches").iterdir())


def test_data_that_was_made_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [s for s in load_stages(load_catalog()) if s.scale == "cpu" and s.kind == "dataset"]
    monkeypatch.chdir(tmp_path)
    for path in stages[0].outs:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    assert "made already" in doctor._data(stages, "cpu").found


def test_status_and_errors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", "--scale", "huge"]) == 1
    names = "tiny, tiny_text, cpu, emoji, emoji128, study, imagenet256, imagenet512, ffhq256, t2i"
    assert f"scale must be one of {names}; got 'huge'" in capsys.readouterr().err


def test_outside_the_repository_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 1
    assert "run from the repository's root" in capsys.readouterr().err


def test_every_command_has_an_example_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name, command in NAMED.items():
        assert f"\n    {name}" in text and command.EXAMPLE in text
        words = shlex.split(command.EXAMPLE.removeprefix('eval "$(').removesuffix(')"'))
        assert words[:2] == ["nextbasis", name]
        given = command_line().parse_args(words[1:])
        assert (given.command, given.action) == (name, command.run)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_names_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in NAMED)
    if shell == "bash":
        ask = 'COMP_WORDS=(nextbasis do); COMP_CWORD=1; _shtab_nextbasis; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", script + "\n" + ask], capture_output=True, text=True)
        assert done.stdout.strip() == "doctor", done.stderr
