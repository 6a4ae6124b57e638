"""`nextbasis.load`: the images of stage sample, official checkpoints, and what cannot be found."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nextbasis
from command import ROOT, refused, run
from fixtures_at_hand import fixture_path
from gpus import Gpu
from nextbasis.config import compose
from nextbasis.sampling.model import Model
from nextbasis.stages import sample
from nextbasis.support.files import read_json, write_json
from small_run import save_small_run

MAR = "ckpt/mar_open/checkpoint-last.pth"
HEADS = ["encoder_heads=4", "decoder_heads=2"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository with a trained xAR of a scale that no catalog lists."""
    monkeypatch.chdir(tmp_path)
    for name in ("config", "src", "catalog.yaml", "dvc.yaml"):
        Path(name).symlink_to(ROOT / name)
    save_small_run("test", "run")


def trained() -> Model:
    return nextbasis.load("results/test/train/run", sampler="tiny/xar")


def test_images_are_those_of_stage_sample() -> None:
    words = ["scale=test", "key=eval", "run=run", "seed=3", "sampler=tiny/xar"]
    sample.main(compose("sample", [*words, "sampler.num_images=20", "sampler.batch_size=8"]))
    labels = np.load("results/test/sample/eval/labels.npy")
    images = trained().sample(labels.tolist(), seed=3, batch_size=8)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.load("results/test/sample/eval/samples.npy"))


def test_an_image_depends_on_its_class_its_place_and_the_seed() -> None:
    model = trained()
    several = model.sample([0, 4, 2], seed=1)
    np.testing.assert_array_equal(several[:1], model.sample([0], seed=1))
    assert (several[0] != model.sample([0], seed=2)[0]).any()
    assert (several[2] != model.sample([0, 4, 1], seed=1)[2]).any()
    assert (several[0] != model.sample([0], seed=1, guidance=1.0)[0]).any()


def test_images_of_a_gpu_are_those_of_the_cpu(gpu: Gpu) -> None:
    here = trained().sample([0, 4, 2], seed=1)
    with gpu():
        model = trained()
        assert model.device.type == "cuda"
        there = model.sample([0, 4, 2], seed=1)
    assert np.abs(there.astype(int) - here.astype(int)).max() <= 1  # a rounding tie


def test_bad_classes_and_settings_are_named() -> None:
    model = trained()
    for wrong in ([5, -1], [0.5], ["a"], [[1]]):
        told = ", ".join(map(repr, wrong))
        with pytest.raises(ValueError) as raised:
            model.sample([0, *wrong])
        assert str(raised.value) == f"classes must be whole numbers in [0, 5), got {told}"
    assert len(model.sample(np.array([0, 4]), num_steps=3)) == 2
    with pytest.raises(ValueError, match="no classes were given"):
        model.sample([])
    with pytest.raises(ValueError, match=r"the sampler has no cfg; it has family, .*guidance"):
        model.sample([0], cfg=3.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guidance": float("nan")}, "sampler.guidance must be finite, got nan"),
        ({"guidance": float("inf")}, "sampler.guidance must be finite, got inf"),
        ({"guidance": "1:30"}, "sampler.guidance: Value '1:30' .* could not be converted to Float"),
        ({"guidance": True}, "sampler.guidance: Value 'True' .* could not be converted to Float"),
        ({"guidance": None}, "sampler.guidance: "),
        ({"guidance": 0.5}, "sampler.guidance must be at least 1"),
        (
            {"batch_size": 2.5},
            "sampler.batch_size: Value '2.5' .* could not be converted to Integer",
        ),
        ({"batch_size": 0}, "sampler.batch_size must be above 0, got 0"),
        ({"rounding": "up"}, "sampler.rounding must be one of round, truncate; got 'up'"),
    ],
)
def test_settings_are_checked_as_those_of_stage_sample(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained().sample([0], **settings)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**70])
def test_seeds_are_those_of_stage_sample(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"seed must lie in \[0, 4294967296\), got {seed}"):
        trained().sample([0], seed=seed)


def test_an_official_checkpoint_is_imported_and_sampled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys, "import", "mar", fixture_path(MAR), "models/mar", *HEADS)
    run(capsys, "import", "kl16", fixture_path("ckpt/vae_open/kl16.ckpt"), "models/kl16")
    chosen = {"tokenizer": "models/kl16", "sampler": "imagenet256/mar_b"}
    images = nextbasis.load("models/mar", **chosen).sample([7, 7], seed=0, num_iter=2, num_steps=3)
    assert images.shape == (2, 16, 16, 3) and (images[0] != images[1]).any()
    official = nextbasis.load("models/mar", **chosen | {"tokenizer": "models/kl16"})
    assert official.sampler.guidance == 2.9  # MAR's README


def test_the_released_sizes_choose_tokenizer_and_sampler(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The config of a released model, without its 943 million weights."""
    from nextbasis.official.sizes import model_config
    from nextbasis.sampling.finding import _of_the_released

    entries = list(_of_the_released(model_config("mar", "mar_h") | {"dropout": 0.0}))
    first = entries[0]
    assert (first["sampler"], first["tokenizer"]) == ("imagenet256/mar_h", "kl16")


def test_what_is_missing_is_named_with_what_gives_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys, "import", "mar", fixture_path(MAR), "models/mar", *HEADS)
    capsys.readouterr()
    line = ("sample", "models/mar", "--sampler", "imagenet256/mar_b")
    assert "give a folder that `nextbasis import` made" in refused(capsys, *line)
    assert "no file or folder gone" in refused(capsys, *line, "--tokenizer", "gone")
    kl16 = fixture_path("ckpt/vae_open/kl16.ckpt")
    run(capsys, "import", "kl16", kl16, "models/kl16")
    assert "choose a sampler among cpu/mar" in refused(
        capsys, "sample", "models/mar", "--tokenizer", "models/kl16"
    )
    assert "sampler tiny/xar is of xar, not of mar" in refused(
        capsys, "sample", "models/mar", "--tokenizer", "models/kl16", "--sampler", "tiny/xar"
    )
    assert "no run of that name at scale cpu; its runs are" in refused(capsys, "sample", "mar_z")
    error = refused(capsys, "sample", "mar_b")
    assert "`dvc repro train@mar_b` makes it" in error and "is there" not in error
    shutil.copytree("results/test/train/run", "results/tiny/train/mar_b")
    assert "; `--scale tiny`, in Python scale='tiny', is there" in refused(
        capsys, "sample", "mar_b"
    )
    shutil.rmtree("results/test/tokenizer")
    assert "no file results/test/tokenizer/patches" in refused(
        capsys, "sample", "results/test/train/run", "--sampler", "tiny/xar"
    )
    config = Path("results/test/train/run/config.json")
    write_json(config, {k: v for k, v in read_json(config).items() if k != "tokens"})
    assert "has no tokens" in refused(capsys, "sample", "results/test/train/run")


def test_the_command_writes_a_picture_or_an_array(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["sample", "results/test/train/run", "--sampler", "tiny/xar"]
    report = run(capsys, *line, "guidance=1.5", "--each", 3, "--classes", "0,2-3", "-o", "a.npz")
    assert report["images"] == "9: 3 of each class 0, 2, 3" and "guidance=1.5" in report["sampler"]
    with np.load("a.npz") as made:
        assert made["labels"].tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 3]
        again = trained().sample(made["labels"].tolist(), seed=0, guidance=1.5)
        np.testing.assert_array_equal(made["arr_0"], again)
    run(capsys, *line, "--each", 2, "-o", "a.png")
    assert "a.png exists" in refused(capsys, *line, "-o", "a.png")
    assert "must end in .png or .npz" in refused(capsys, *line, "-o", "a.jpg")
    assert "--classes must be numbers or ranges" in refused(
        capsys, *line, "-o", "b.png", "--classes", "cat"
    )
    for classes, message in (
        ("3-1", "'3-1' counts down; write 1-3"),
        ("0,3-1", "'3-1' counts down"),
        ("0-99999999999", "--classes must lie in [0, 5), got '0-99999999999'"),
        ("2²", "--classes must be numbers or ranges"),
    ):
        assert message in refused(capsys, *line, "-o", "b.png", "--classes", classes)
    for words, message in (
        (("guidance=1:30",), "sampler.guidance: Value '1:30'"),
        (("guidance=yes",), "sampler.guidance: Value 'yes'"),
        (("guidance=.nan",), "sampler.guidance must be finite"),
        (("guidance=1e-1",), "sampler.guidance must be at least 1 (off), got 0.1"),
        (("guidance=",), "sampler.guidance"),
        (("batch_size=2.5",), "sampler.batch_size: Value '2.5'"),
        (("guidance=1.0", "sampler.guidance=5.0"), "guidance is given twice, as 1.0 and as 5.0"),
        (("=1",), "'=1' is no KEY=VALUE"),
        (("--seed", "-1"), "seed must lie in [0, 4294967296), got -1"),
        (("--seed", str(2**70)), "seed must lie in"),
    ):
        assert message in refused(capsys, *line, "-o", "b.png", *words)
    assert not Path("b.png").exists()
    report = run(capsys, *line, "batch_size=010", "--each", 1, "--classes", "0", "-o", "b.png")
    assert "batch_size=10 " in report["sampler"]
    Path("file").touch()
    assert "file is no folder" in refused(capsys, *line, "-o", "file/a.png")
    Path("c.png").symlink_to("gone")
    assert "c.png exists already" in refused(capsys, *line, "-o", "c.png")
