"""`nextbasis try`: scratch runs beside the results, on the scale tiny with three steps."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from command import ROOT, refused
from nextbasis.commands.cli import main
from nextbasis.commands.workspace import run_stage
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages, with_makers
from nextbasis.stages import train
from nextbasis.support.files import sha256

CATALOG = Path("config/scales/tiny/catalog.yaml")
pytestmark = pytest.mark.filterwarnings("ignore:100 images for 128 feature dimensions")
RUN = "xar_b: {<<: *xar, run: xar_b, model: small/xar_b"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository whose xar_b of the scale tiny trains for three steps; no results."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    for name in ("src", "workflow", "catalog.yaml", "dvc.yaml"):
        Path(name).symlink_to(ROOT / name)
    text = CATALOG.read_text(encoding="utf-8")
    assert RUN in text
    CATALOG.write_text(text.replace(RUN, f'{RUN}, overrides: "train.steps=3"'), encoding="utf-8")


def make_results(*, of_the_run: bool) -> None:
    """What score of xar_b is made of; `of_the_run`: its own model, samples and score as well."""
    stages = load_stages(load_catalog(), only=["tiny"])
    score = next(stage for stage in stages if (stage.kind, stage.key) == ("score", "xar_b"))
    for stage in with_makers(stages, score):
        if of_the_run or stage.key != "xar_b":
            run_stage(stage.kind, stage.arguments)


def attempt(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["try", "xar_b", "--scale", "tiny", *words]) == 0
    return capsys.readouterr().out.splitlines()


def told(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("FID", "difference", "verdict"))]


def digests() -> dict[Path, str]:
    return {path: sha256(path) for path in Path("results").rglob("*") if path.is_file()}


def test_a_try_without_changes_is_the_run_and_one_with_changes_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_results(of_the_run=True)
    capsys.readouterr()
    before = digests()
    same = attempt(capsys)
    assert "no value is another one" in same[0]
    assert any(line.split()[:2] == ["difference", "+0.0000"] for line in same)
    (folder,) = Path("scratch").glob("xar_b-*")
    for name in ("samples.npy", "labels.npy"):
        ours = np.load(folder / "results/tiny/sample/try" / name)
        np.testing.assert_array_equal(ours, np.load(Path("results/tiny/sample/xar_b") / name))
    other = attempt(capsys, "train.lr=0.02", "sampler.num_steps=3", "-o", "mine")
    assert "train.lr: 0.002 → 0.02" in other[0] and "sampler.num_steps: 4 → 3" in other[0]
    assert "one pair tells of no other seed" in "".join(other)
    assert digests() == before
    assert not [path for path in Path("mine").rglob("*") if path.is_symlink()]
    monkeypatch.setattr(train, "main", lambda _: pytest.fail("trained again"))
    again = attempt(capsys, "sampler.num_steps=3", "train.lr=0.02", "-o", "mine")
    assert told(again) == told(other) and len(told(again)) == 4
    words = ("try", "xar_b", "--scale", "tiny", "train.lr=0.03", "-o", "mine")
    assert "mine exists and is not of this try" in refused(capsys, *words)


def test_without_samples_of_the_run_its_score_is_not_paired(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_results(of_the_run=False)
    capsys.readouterr()
    wrong = refused(capsys, "try", "xar_b", "--scale", "tiny", "sampler.num_images=2")
    assert "sampler.num_images must be a multiple of the 10 classes, got 2" in wrong
    assert not list(Path("scratch").glob("xar_b-*"))
    shown = attempt(capsys, "basis=bar", "train.steps=1", "sampler.num_steps=3")
    assert "basis.learned: False → True" in shown[0]
    (line,) = (line for line in shown if line.startswith("not paired"))
    assert "sample/xar_b" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.lrr=1"], "train.lrr: there is no such key; the keys of train are"),
        (["training.lr=1"], "there is no training.lr; a key is one of "),
        (["samplr.num_steps=4"], "; did you mean sampler.num_steps?"),
        (["guidanc=2"], "; did you mean sampler.guidance?"),
        (["SEED=1"], "; did you mean seed?"),
        (["sampler.cfg=2"], "sampler.cfg: there is no such key; the keys of sampler are"),
        (["train.lr=-1"], "train.lr"),
        (["bas1s=fixed"], "basis, order, train, sampler, or below; did you mean basis?"),
        (["num_steps=3"], "there is no num_steps; a key is one of "),
        (["num_steps=3"], "did you mean sampler.num_steps?"),
        (["batch_size=3"], "did you mean train.batch_size or sampler.batch_size?"),
        (["tokens=vq"], "tokens=vq: scale, key, run, tokens, captions are those of the run"),
        (["model=small/mar_b"], "model.family is mar and sampler.family xar"),
        (["train.lr"], "'train.lr' is no KEY=VALUE"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_looked_for(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "try", "xar_b", "--scale", "tiny", *words)
    assert not Path("scratch").exists()


def test_a_misspelt_key_of_the_catalog_is_no_run_of_other_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = CATALOG.read_text(encoding="utf-8")
    CATALOG.write_text(text.replace(f"{RUN}, overrides", f"{RUN}, override"), encoding="utf-8")
    error = refused(capsys, "try", "xar_b", "--scale", "tiny")
    assert "runs.xar_b: " in error and "'override' was unexpected" in error


def test_what_is_missing_is_named_with_the_command_that_makes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refused(capsys, "try", "xar_b", "--scale", "tiny", "train.lr=0.1")
    file = "config/scales/tiny/dvc.yaml"
    assert f"`dvc repro {file}:tokens@patches {file}:text@classes" in line
    assert "no run 'xar_z' at scale tiny; its runs are" in refused(
        capsys, "try", "xar_z", "--scale", "tiny"
    )
