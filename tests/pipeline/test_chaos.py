"""Scale tiny, killed at random moments and run on, ends in the digits of an undisturbed run.

`make test-chaos`, a quarter of an hour on two idle cores. CHAOS_KILLS (50) is how often everything
that was started gets SIGKILL, CHAOS_SEED (0) draws the moments. After each kill no file under a
final name may be other than the undisturbed run's, then `snakemake --unlock` and the same command
go on. A run that ends before the last kill is compared, and another one begins.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from command import ROOT
from miniature import environment
from nextbasis.pipeline.catalog import load_catalog

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found by way of /proc"),
]
KILLS = int(os.environ.get("CHAOS_KILLS", "50"))
SEED = int(os.environ.get("CHAOS_SEED", "0"))
RUN = ["snakemake", "--cores=2", "--config", "scale=tiny"]
TABLES = load_catalog(ROOT)["tables"]
MARK = "NEXTBASIS_CHAOS"  # a variable that every process of a run inherits
SPEEDS = {"images_per_second", "seconds_per_image"}  # columns that differ from run to run


class Chaos:
    """A clone in which the scale is run, killed and run on."""

    def __init__(self, root: Path, source: Path) -> None:
        self.root, self.log = root, root.with_suffix(".log")
        self.mark = uuid.uuid4().hex
        self.environment = environment() | {"PYTHONPATH": str(root / "src"), MARK: self.mark}
        subprocess.run(["git", "clone", "--quiet", str(source), str(root)], check=True)

    def run(self, seconds: float | None = None) -> bool:
        """Whether the run ends, and ends well, before its time is over and all of it is killed."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                RUN,
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                assert process.wait(seconds) == 0, self.said()
            except subprocess.TimeoutExpired:
                return False
            finally:
                self.kill()
                process.wait()
        return True

    def kill(self) -> None:
        """SIGKILL to every process of the run, whatever group it is in, until none is left."""
        while alive := list(self.processes()):
            for number in alive:
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)

    def processes(self) -> Iterator[int]:
        """Numbers of the processes that live and have the run's mark."""
        wanted = f"{MARK}={self.mark}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
            except OSError:  # it has ended, or is another user's
                pass

    def unlock(self) -> None:
        """What README says to do after a kill."""
        command = [RUN[0], "--unlock", *RUN[2:]]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def results(self) -> dict[str, bytes]:
        """What must be the same of everything under a final name but logs."""
        folder = self.root / "results/tiny"
        files = (path for path in folder.rglob("*") if path.is_file())
        names = {path.relative_to(folder): path for path in files}
        return {
            str(name): lasting(name, path.read_bytes())
            for name, path in names.items()
            if name.parts[0] != "logs"
            and not any(part.startswith(".") or part.endswith(".tmp") for part in name.parts)
        }

    def check(self, expected: dict[str, bytes]) -> None:
        """Results and DVC's cache are whole; DVC's records Snakemake mends when it begins."""
        found = self.results()
        assert {name for name in found if found[name] != expected.get(name)} == set()
        for path in self.root.glob(".dvc/cache/files/md5/??/*"):
            name = path.parent.name + path.name.removesuffix(".dir")
            if len(name) == 32:  # others are temporary
                digest = hashlib.md5(path.read_bytes(), usedforsecurity=False)
                assert digest.hexdigest() == name, f"the cache holds half of {path}"

    def said(self) -> str:
        """The end of what Snakemake has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-5000:]


def lasting(name: PurePath, content: bytes) -> bytes:
    """A file's bytes; where it shows how fast something was, of its end or its keys only.

    The report page shows the tables, speeds included, which are compared one by one.
    """
    if name.name == "speed.json":
        return " ".join(json.loads(content)).encode()
    shown = TABLES.get(name.stem, {}).get("metrics", ()) if name.parts[0] == "tables" else ()
    shows_speeds = bool(SPEEDS & set(shown)) or "claims" in (name.parts[0], name.stem)
    return content[-8:] if shows_speeds or name.name == "report.html" else content


def tell(text: str) -> None:
    """Progress, also where pytest keeps what tests print."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.__stderr__, flush=True)


def test_a_run_killed_at_random_moments_ends_in_the_same_digits(tmp_path: Path) -> None:
    undisturbed = Chaos(tmp_path / "undisturbed", ROOT)
    begin = time.monotonic()
    assert undisturbed.run()
    seconds, expected = time.monotonic() - begin, undisturbed.results()
    assert len(expected) > 100
    tell(f"undisturbed: {len(expected)} files, {seconds:.0f} s; now {KILLS} kills, seed {SEED}")

    draw, kills, round_ = random.Random(SEED), 0, 0
    latest = seconds * max(1 / 10, 1 / KILLS)
    while kills < KILLS:
        round_ += 1
        # Of the same commit, which tables name, whatever is committed while this runs.
        disturbed = Chaos(tmp_path / f"disturbed_{round_}", undisturbed.root)
        while not disturbed.run(draw.uniform(0, latest) if kills < KILLS else None):
            kills += 1
            disturbed.check(expected)
            disturbed.unlock()
            tell(f"kill {kills} of {KILLS}: {len(disturbed.results())} files are there")
        disturbed.check(expected)
        assert disturbed.results().keys() == expected.keys()
        tell(f"run {round_} has ended in the same digits")
