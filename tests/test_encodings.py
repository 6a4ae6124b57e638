"""Texts are UTF-8 and lines end as they were committed, in any locale and under any git."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import results_tree
from nextbasis.support.endings import write_any_text

ROOT = Path(__file__).parents[1]
# Locales whose encoding is not UTF-8; Python would else choose UTF-8 in spite of the first.
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
ARROW = "\u2193"


def run(*words: str, folder: Path = ROOT, **variables: str) -> bytes:
    """What a Python program writes to a pipe; it must end well."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT / "src")} | ASCII | variables,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "nextbasis", "bases", "--grid", "4x4"),
        ("-m", "nextbasis", "--help"),
        ("-m", "nextbasis", "plan", "--scale", "ffhq256", "--markdown"),
    ],
)
def test_commands_write_the_same_in_every_locale(words: tuple[str, ...]) -> None:
    plain, forced = run(*words), run(*words, PYTHONUTF8="1")
    assert plain == forced and plain.decode("utf-8")


def test_standard_output_takes_every_text() -> None:
    program = "from nextbasis.support.endings import write_any_text\nwrite_any_text()\n"
    program += f"print({ARROW!a} + '\\udce9')"
    assert run("-c", program) == f"{ARROW}\\udce9\n".encode()


def test_streams_of_other_kinds_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", object())
    write_any_text()


def test_tables_and_claims_are_written_in_every_locale(tmp_path: Path) -> None:
    catalog = results_tree.small_catalog()
    results_tree.build(tmp_path, catalog, "small")
    results_tree.write_claims(tmp_path, results_tree.small_claims())
    results_tree.write_catalog(tmp_path, catalog)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    written = []
    for utf8 in "01":
        out = tmp_path / utf8
        run(
            "-m",
            "nextbasis.claims",
            "--scale=small",
            f"--out={out}",
            folder=tmp_path,
            PYTHONUTF8=utf8,
        )
        for table in ("systems", "pairs"):
            words = ("--scale=small", f"--table={table}", f"--out={out}")
            run("-m", "nextbasis.tables", *words, folder=tmp_path, PYTHONUTF8=utf8)
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert written[0] == written[1]
    assert ARROW in written[0]["systems.md"].decode("utf-8")


def test_a_run_is_shared_in_every_locale(tmp_path: Path) -> None:
    results_tree.build_trained(tmp_path)
    written = []
    for utf8 in "01":
        words = ("-m", "nextbasis", "share", "a_bar", utf8, "--scale", "small")
        run(*words, folder=tmp_path, PYTHONUTF8=utf8)
        written.append({path.name: path.read_bytes() for path in (tmp_path / utf8).iterdir()})
    assert written[0] == written[1]
    assert ARROW in written[0]["README.md"].decode("utf-8")


def test_git_changes_no_line_end(tmp_path: Path) -> None:
    def git(*words: str, folder: Path) -> bytes:
        settings = ["-c", "core.autocrlf=true", "-c", "user.name=t", "-c", "user.email=t@t"]
        done = subprocess.run(["git", *settings, *words], cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    source, clone = tmp_path / "source", tmp_path / "clone"
    source.mkdir()
    scripts = ["workflow/torchrun", ".ci/run", "config/published.csv", ".gitattributes"]
    for name in scripts:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    (source / "windows.csv").write_bytes(b"a\r\nb\n")
    git("init", "--quiet", folder=source)
    git("add", "--all", folder=source)
    git("commit", "--quiet", "--message", "scripts", folder=source)
    git("clone", "--quiet", str(source), str(clone), folder=tmp_path)
    for name in [*scripts, "windows.csv"]:
        assert (clone / name).read_bytes() == (source / name).read_bytes(), name
    assert b"\r" not in (clone / "workflow/torchrun").read_bytes()
    assert git("status", "--porcelain", folder=clone) == b""
