"""A disk that fills, a limit that is reached: nothing is left half written, one line says so."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import full_disk
from full_disk import SIZE, WRITES, Outcome
from nextbasis.data.arrays import create
from nextbasis.families.common.checkpoint import Resumable
from nextbasis.support.disk import is_full
from nextbasis.support.files import staged_folder, write_atomic

TESTS = Path(__file__).parents[1]
ROOM = SIZE // 2  # bytes
MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"]


@pytest.fixture
def limited() -> Iterator[None]:
    """No file may grow beyond ROOM."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def on_small_disk(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that sees a disk of ROOM bytes in `folder`, as only a namespace can have it."""
    folder.mkdir()
    wrapper = [*UNSHARE, str(ROOM), str(folder)]
    try:
        can = subprocess.run([*wrapper, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        can = False
    if not can:
        pytest.skip("this system lets nobody mount a small disk for itself (unshare, tmpfs)")
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    return subprocess.run(
        [*wrapper, *command],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=TESTS.parent,
        capture_output=True,
        encoding="utf-8",
    )


def check(name: str, found: Outcome, folder: Path) -> None:
    """No file, whole or half or temporary, and an error that names the one that was wanted."""
    wanted = folder / (name if name in full_disk.ALONE else "stage")
    assert found.error == "OSError", f"{name}: {found}"
    assert found.message.startswith(f"no room is left to write {wanted}: "), f"{name}: {found}"
    assert found.files == [], f"{name}: {found}"


@pytest.mark.parametrize("name", WRITES)
def test_where_there_is_room_the_file_is_there(name: str, tmp_path: Path) -> None:
    made = full_disk.write(name, tmp_path)
    assert list(tmp_path.iterdir()) == [made]
    file = made / name if made.is_dir() else made
    assert file.stat().st_size > ROOM


@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_left_of_a_file_beyond_the_limit(
    name: str, limited: None, tmp_path: Path
) -> None:
    check(name, full_disk.outcome(name, tmp_path), tmp_path)


def test_nothing_is_left_of_a_file_that_fills_the_disk(tmp_path: Path) -> None:
    """Here a write into a memory map without room would kill the process."""
    folder = tmp_path / "small"
    done = on_small_disk(folder, sys.executable, "tests/full_disk.py", str(folder))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert tuple(found) == WRITES
    for name, values in found.items():
        check(name, Outcome(*values), folder)


def test_a_stage_on_a_full_disk_ends_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    program = (
        "import os, sys\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from nextbasis.stages import run\n"
        "from nextbasis.support.files import staged_folder\n"
        "from nextbasis.data.arrays import write_rows\n"
        "def main(config):\n"
        f"    with staged_folder(Path({str(folder)!r}) / 'stage') as out:\n"
        f"        rows = (np.ones(1024, np.uint8) for _ in range({SIZE // 1024}))\n"
        f"        write_rows(out / 'a.npy', rows, ({SIZE // 1024}, 1024), np.uint8, 'a')\n"
        "sys.argv = ['text', 'scale=tiny', 'key=classes', 'text=classes']\n"
        "run('text', main, None)\n"
    )
    done = on_small_disk(folder, sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: no room is left to write {folder}/stage: its disk has ")
    assert done.stderr.count("\n") == 1 and "0.1 MB free" in done.stderr


def test_the_state_before_stays_when_there_is_no_room_for_another(
    limited: None, tmp_path: Path
) -> None:
    states = Resumable(tmp_path / "states")
    for step in range(2):
        states.save({"step": step})
    with pytest.raises(OSError, match="no room is left to write .*state.pt"):
        states.save({"step": 2, "weights": torch.zeros(SIZE)})
    assert sorted(path.name for path in states.folder.iterdir()) == ["before.pt", "state.pt"]
    assert states.load() == {"step": 1}


def test_a_result_stays_when_there_is_no_room_for_another(limited: None, tmp_path: Path) -> None:
    for size in (10, SIZE):
        try:
            with staged_folder(tmp_path / "stage") as folder:
                np.save(folder / "a.npy", np.full(size, size))
        except OSError:
            assert size == SIZE
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]
    np.testing.assert_array_equal(np.load(tmp_path / "stage/a.npy"), np.full(10, 10))


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(PermissionError, match="Permission denied"):
        write_atomic(tmp_path / "a", refuse)
    assert not is_full(ValueError("3 requested, 2 written")) and not is_full(None)


def test_a_new_array_takes_its_room_at_once(tmp_path: Path) -> None:
    create(tmp_path / "a.npy", (SIZE,), np.uint8)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= SIZE
    assert create(tmp_path / "empty.npy", (0, 3), np.uint8).shape == (0, 3)


def test_what_killed_processes_left_of_a_folder_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [f".stage.{number}.tmp" for number in (dead.pid, os.getpid(), os.getppid())]
    others = [f".other.{dead.pid}.tmp", f".stage2.{dead.pid}.tmp"]
    for name in [*left, *others]:
        (tmp_path / name / "shards").mkdir(parents=True)
    with staged_folder(tmp_path / "stage") as folder:
        (folder / "a").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["stage", left[2], *others])
