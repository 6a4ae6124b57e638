"""Results by way of a remote on an S3 API: pushed from one clone, pulled into another.

The server is moto's: the real protocol on a real port, with files in memory.
"""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer

from miniature import SCALE, Project

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"
BUCKET = "results"
MODEL = f"results/{SCALE}/train/mar_b/model.safetensors"
TABLE = f"results/{SCALE}/tables/main.md"


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadedMotoServer]:
    """A server on a free port, with one bucket."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    urlopen(Request(f"{_address(server)}/{BUCKET}", method="PUT")).close()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials for every process of a test, and none from this machine."""
    for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")


@pytest.fixture(scope="module")
def finished(server: ThreadedMotoServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A miniature that DVC alone has made, committed, with its remote; only to be copied."""
    project = Project.create(tmp_path_factory.mktemp("miniature"))
    project.run("dvc", "repro")
    project.run("dvc", "remote", "add", "-d", "store", f"s3://{BUCKET}/nextbasis")
    project.run("dvc", "remote", "modify", "store", "endpointurl", _address(server))
    project.forget()
    project.snakemake()
    assert project.executed() == {} and (project.root / TABLE).exists()
    project.commit("first run")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    return finished.copy(tmp_path / "first")


def test_clone_that_pulled_has_nothing_to_do(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "push")
    project.run("git", "clone", "--quiet", ".", str(tmp_path / "second"))
    clone = Project(tmp_path / "second")
    clone.behave()
    assert not (clone.root / MODEL).exists()
    clone.run("dvc", "pull")
    # Whatever order DVC writes in: here what is read is newer than what was made of it.
    for path in sorted((clone.root / f"results/{SCALE}/dataset").iterdir()):
        path.touch()
    assert NOTHING in clone.snakemake()
    assert clone.executed() == {} and clone.status() == {}
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert (clone.root / MODEL).read_bytes() == (project.root / MODEL).read_bytes()

    # And it goes on from there: one change repeats what it reaches, from what was pulled.
    clone.set_model("mar_b", 2)
    clone.snakemake()
    assert clone.executed() == {"train mar_b": 1, "sample mar_b": 1, "score mar_b": 1}


def test_failed_pushes_are_named_and_lose_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        failed = project.run("dvc", "push", ok=False)
    assert failed.returncode != 0
    assert "Unable to locate credentials" in failed.stderr
    with socket.socket() as nobody:  # bound, so no other server gets this port, but not listening
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        project.run("dvc", "remote", "modify", "--local", "store", "endpointurl", address)
        failed = project.run("dvc", "push", ok=False)
    assert failed.returncode != 0
    assert f'Could not connect to the endpoint URL: "{address}' in failed.stderr
    project.run("dvc", "remote", "modify", "--local", "--unset", "store", "endpointurl")
    project.run("dvc", "push")
    assert "in sync" in project.run("dvc", "status", "--cloud").stdout
    assert NOTHING in project.snakemake()


def _address(server: ThreadedMotoServer) -> str:
    _, port = server.get_host_and_port()
    return f"http://127.0.0.1:{port}"
