"""The commands of docs/how-to/checkpoint-to-row.md, on a tiny model in the official format."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.scoring import random_inception

from command import HEADS, ROOT
from fixtures_at_hand import fixture_path
from nextbasis.commands.cli import main
from nextbasis.scoring import features as scoring_features
from nextbasis.scoring import score as scoring_module
from nextbasis.scoring.features import Features
from nextbasis.scoring.rules import PROTOCOLS
from nextbasis.support.files import read_json, sha256
from nextbasis.tables import __main__ as tables
from pages import blocks

(COMMANDS,) = (
    block.code.splitlines()
    for block in blocks(ROOT / "docs/how-to/checkpoint-to-row.md")
    if block.why_not  # the other is run without official files
)
# What differs for a tiny model: its files, what its sizes do not tell, and how much is made.
FILES = {"kl16.ckpt": "ckpt/vae_open/kl16.ckpt"}
FILES["checkpoint-last.pth"] = "ckpt/mar_open/checkpoint-last.pth"
FEWER = {"0-999": "0-9", "50": "2"}
SAMPLER = ["--sampler", "imagenet256/mar_b", "num_iter=2", "num_steps=3"]
MORE = {"mar": HEADS, "models/mar_b": SAMPLER, "samples.npz": ["--classes", "10"]}
FEATURES = 2048


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository with Inception's random weights, and a reference that is a standard normal."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    for name in ("src", "workflow", "catalog.yaml", "dvc.yaml"):
        Path(name).symlink_to(ROOT / name)
    Path("data").mkdir()
    weights = random_inception(Path("data/inception-v3-compat.pth"))
    path = Path("config/scales/imagenet256/evaluation.yaml")
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("weights_sha256")]
    path.write_text("\n".join([*kept, f"weights_sha256: {sha256(weights)}"]), encoding="utf-8")
    np.savez("adm_in256_stats.npz", mu=np.zeros(FEATURES), sigma=np.eye(FEATURES))
    monkeypatch.setitem(PROTOCOLS, "mar", replace(PROTOCOLS["mar"], num_images=20, per_class=2))


def words_of(command: str) -> list[str]:
    """The command's words with the tiny model's files and numbers."""
    words = shlex.split(command)
    more = [word for name, extra in MORE.items() if words[2] == name for word in extra]
    told = [str(fixture_path(FILES[word])) if word in FILES else word for word in words]
    return [FEWER.get(word, word) for word in told] + more


def test_a_checkpoint_becomes_a_row_beside_its_paper(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Features] = []

    def extract(*told: Any) -> Features:
        seen.append(scoring_features.extract(*told))
        return seen[-1]

    monkeypatch.setattr(scoring_module, "extract", extract)
    *first, last = map(words_of, COMMANDS)
    for words in first:
        assert words[0] == "nextbasis" and main(words[1:]) == 0, words
    assert last[:3] == ["python", "-m", "nextbasis.tables"]
    tables.main(last[3:])
    score = read_json(Path("results/imagenet256/external/marb/score.json"))
    # To a standard normal: |mu|² + tr S + d - 2 tr S^(1/2), S of the centred features.
    features = seen[0].pooled.double().numpy()
    mean, centred = features.mean(0), features - features.mean(0)
    spread = np.linalg.svd(centred, compute_uv=False) / np.sqrt(len(features) - 1)
    wanted = (mean**2).sum() + (spread**2).sum() + FEATURES - 2 * spread.sum()
    assert features.shape == (20, FEATURES) and spread[0] > 0
    assert score["values"]["fid"] == pytest.approx(wanted, rel=1e-6)
    assert score["protocol"]["name"] == "mar" and score["protocol"]["rounding"] == "round"
    table = Path("results/imagenet256/tables/outside.md").read_text(encoding="utf-8")
    (row,) = (line for line in table.splitlines() if line.startswith("| MAR-B"))
    assert row in capsys.readouterr().out
    cells = [cell.strip() for cell in row.split("|")]
    assert f"{wanted:.2f}" in row and {"2.31", "281.7", "20"} <= set(cells)
