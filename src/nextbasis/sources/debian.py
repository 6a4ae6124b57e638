"""Fetch a Debian package with the system's own client, without root, and unpack it."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from nextbasis.sources.programs import call
from nextbasis.support.files import write_atomic

TIMEOUT = 180  # seconds that one call of the client may take


def fetch(package: str, wanted: str, folder: Path) -> None:
    """Download `package` and copy its files that match the pattern `wanted` into `folder`.

    The client works on a private copy of its state, so neither root nor the system's lists are
    needed. Raises: ValueError saying which step failed.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ValueError(f"{tool} is not installed (this source needs Debian or Ubuntu)")
    with tempfile.TemporaryDirectory(prefix="nextbasis-") as name:
        work = Path(name)
        for part in ("lists/partial", "cache/archives/partial"):
            (work / part).mkdir(parents=True)
        client = [
            "apt-get",
            "-q",
            f"-oDir::State::Lists={work}/lists",
            f"-oDir::Cache={work}/cache",
        ]
        client += ["-oDebug::NoLocking=1", "-oAPT::Sandbox::User=", "-oAcquire::Retries=0"]
        client += ["-oAcquire::http::Timeout=20", "-oAcquire::https::Timeout=20"]
        call([*client, "update"], work, TIMEOUT)
        call([*client, "download", package], work, TIMEOUT)
        archives = list(work.glob("*.deb"))
        if len(archives) != 1:
            raise ValueError(f"package {package} gave {len(archives)} archives, expected 1")
        call(["dpkg-deb", "-x", str(archives[0]), "unpacked"], work, TIMEOUT)
        found = sorted((work / "unpacked").rglob(wanted))
        if not found:
            raise ValueError(f"package {package} holds no file {wanted}")
        for path in found:
            write_atomic(folder / path.name, partial(shutil.copyfile, path))
