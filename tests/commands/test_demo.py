"""`nextbasis demo`: a picture from nothing, without a network and within its folder."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import ROOT, refused
from nextbasis.commands import demo
from nextbasis.commands.cli import main


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("config", "src", "catalog.yaml", "dvc.yaml"):
        Path(name).symlink_to(ROOT / name)


def test_a_picture_comes_from_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("used the network"))
    monkeypatch.setattr(demo, "TRAIN", ("train.steps=2",))
    monkeypatch.setattr(demo, "SAMPLE", ("sampler.num_images=20", "sampler.num_steps=3"))
    before = set(Path().iterdir())
    assert main(["demo", "-o", "here"]) == 0
    assert "no result" in capsys.readouterr().out
    assert set(Path().iterdir()) - before == {Path("here")}
    with Image.open("here/demo.png") as picture:
        assert picture.width > picture.height > 100
    made = [np.load(f"here/results/tiny/sample/{run}/labels.npy") for run in demo.RUNS.values()]
    np.testing.assert_array_equal(*made)
    assert "here exists; delete it" in refused(capsys, "demo", "-o", "here")
