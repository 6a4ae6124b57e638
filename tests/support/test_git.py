"""What git says of a repository that it refuses reaches the user."""

import subprocess
from pathlib import Path

import pytest

from nextbasis.commands import doctor, verify
from nextbasis.diff.history import Commit, open_version
from nextbasis.support.git import GitError, git
from nextbasis.tables.header import commit

FOREIGN = "detected dubious ownership in repository at"
REMEDY = "git config --global --add safe.directory"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("a.txt").write_text("a", encoding="utf-8")
    names = ("-c", "user.name=n", "-c", "user.email=e")
    for words in (["init", "--quiet"], ["add", "."], [*names, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], check=True)
    return folder


@pytest.fixture
def of_another_owner(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, of another owner as git sees it."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    return repository


def test_git_prints_or_says_why_not(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD").decode().strip()
    assert len(head) == 40 and commit(repository).startswith(f"commit {head[:7]}")
    with pytest.raises(GitError, match="^fatal: .*nowhere"):
        git(repository, "rev-parse", "nowhere")
    assert isinstance(open_version(repository, "HEAD"), Commit)
    with pytest.raises(ValueError, match="git knows no revision 'nowhere'"):
        open_version(repository, "nowhere")


def test_outside_of_a_repository_git_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ValueError, match="cannot tell what HEAD is: fatal: not a git repository"):
        open_version(tmp_path, "HEAD")


def test_another_owner_is_told_by_every_command(
    of_another_owner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ask in (
        lambda: open_version(of_another_owner, "HEAD~1"),
        lambda: verify.read_committed(["a.txt"]),
    ):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            ask()
        assert FOREIGN in str(error.value) and REMEDY in str(error.value)
        assert "\n" not in str(error.value)
    check = doctor._clone()
    assert FOREIGN in check.found and REMEDY in check.found
    assert "the command that git names" in check.advice
    assert commit(of_another_owner) == "no git commit"
    assert REMEDY in capsys.readouterr().err
