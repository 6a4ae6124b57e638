"""Folders of images under `score` and `reference`: the same as one array of the right order."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import ROOT, refused
from image_bytes import png
from nextbasis.commands.cli import main
from nextbasis.support.files import read_json
from nextbasis.tables.external import read_rows
from scoring import NUM_CLASSES, balanced, pictures

COUNT = 120
OPTIONS = ("--scale", "cpu", "--classes", str(NUM_CLASSES))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with reference statistics, samples in one array and their labels."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "src").symlink_to(ROOT / "src")
    path = tmp_path / "config/scales/cpu/evaluation.yaml"
    path.write_text(path.read_text().replace("num_reference: 10000", "num_reference: 50"))
    monkeypatch.chdir(tmp_path)
    np.save("real.npy", pictures(60, seed=1))
    assert main(["reference", "real.npy", "ref", "--computed-on", "60 pictures", *OPTIONS]) == 0
    np.save("samples.npy", pictures(COUNT, seed=2, contrast=200))
    np.save("labels.npy", np.random.default_rng(0).permutation(balanced(COUNT)))
    yield tmp_path


def save(folder: str, name: str = "{}.png", **how: object) -> None:
    for number, image in enumerate(np.load("samples.npy")):
        path = Path(folder, name.format(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path, **how)


def score(
    capsys: pytest.CaptureFixture[str], samples: str, *options: str
) -> tuple[dict[str, float], dict[str, object], dict[str, str]]:
    """Values and protocol of a score, and what was printed."""
    printed = told(capsys, "score", samples, "--reference", "ref", "--as", samples, *options)
    found = read_json(Path(read_rows()[samples]["score"]))
    return found["values"], found["protocol"], printed


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """What a command that succeeds reports."""
    capsys.readouterr()
    assert main([*words, *OPTIONS]) == 0
    lines = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    return {line[0]: line[1].strip() for line in lines if len(line) == 2}


def warnings_of(printed: dict[str, str]) -> list[str]:
    return [text for name, text in printed.items() if name.startswith("warning")]


def test_unpadded_names_score_as_the_array_does(capsys: pytest.CaptureFixture[str]) -> None:
    """Read as strings, 10.png would get the label of 2.png."""
    save("plain")
    save("padded", "{:05}.png")
    labels = ("--labels", "labels.npy")
    values, protocol, _ = score(capsys, "samples.npy", *labels)
    plain, plain_protocol, printed = score(capsys, "plain", *labels)
    padded, padded_protocol, quiet = score(capsys, "padded", *labels)
    assert plain == padded == values
    assert plain_protocol["samples_sha256"] == protocol["samples_sha256"]
    assert protocol["file_format"] == "npy" and plain_protocol["file_format"] == "PNG"
    assert plain_protocol["file_order"].startswith("natural") and "file_order" not in protocol
    natural = "files are read in natural order, numbers in names as numbers: 2.png comes where "
    natural += "plain strings would put 10.png; labels are taken in this order"
    assert natural in warnings_of(printed)
    Path("same").symlink_to("plain")
    _, _, unlabelled = score(capsys, "same")  # where no labels follow it, order is of no account
    for told_otherwise in (quiet, unlabelled):
        assert not any("natural" in text for text in warnings_of(told_otherwise))


@pytest.mark.parametrize("command", ["score", "reference"])
def test_the_help_tells_the_order(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("natural order") == told.count("2.png before 10.png") == 2


def test_linked_folders_and_any_ending_are_scored(capsys: pytest.CaptureFixture[str]) -> None:
    save("store [1] *", "{:05}.TIFF")
    for number in range(60):
        Path("all").mkdir(exist_ok=True)
        shutil.move(f"store [1] */{number:05}.TIFF", f"all/{number:05}.TIFF")
    Path("all/more").symlink_to("../store [1] *")
    Path("all/more/loop").symlink_to("../all")
    Path("all/.thumbnails").mkdir()
    shutil.copy("all/00000.TIFF", "all/.thumbnails/00000.tiff")
    values, protocol, printed = score(capsys, "all")
    assert values == score(capsys, "samples.npy")[0]
    assert protocol["num_images"] == COUNT and protocol["file_format"] == "TIFF"
    assert any("not read: 1 (.thumbnails/00000.tiff)" in text for text in warnings_of(printed))


def test_jpeg_is_warned_of_whatever_the_files_are_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    save("mixed")
    for number in range(30):
        path = Path(f"mixed/{number}.png")
        with Image.open(path) as image:
            image.load()
        image.save(path, "JPEG", quality=75)
    values, protocol, printed = score(capsys, "mixed")
    assert protocol["file_format"] == "JPEG (30), PNG (90)"
    warned = "30 of 120 images are stored as JPEG, which changes pixels and with them every score"
    assert any(text.startswith(warned) for text in warnings_of(printed))
    assert values["fid"] != score(capsys, "samples.npy")[0]["fid"]


def test_16_bits_are_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    save("plain")
    with Image.open("plain/7.png") as image:
        levels = np.asarray(image).astype(np.uint16) * 257
    words = ("score", "plain", "--reference", "ref", "--as", "x", *OPTIONS)
    Image.fromarray(levels).save("plain/7.png")
    capsys.readouterr()
    assert "plain/7.png is of mode I;16; only 8-bit grey" in refused(capsys, *words)
    Path("plain/7.png").write_bytes(png(16, np.stack([levels] * 3, 2)))
    assert "plain/7.png is of mode RGB with 16 bits; only 8-bit" in refused(capsys, *words)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("1", "its pixels have 1 bit"),
        ("P", "its pixels are places in a palette"),
        ("LA", "transparency would be lost silently"),
        ("I;16", "16 bits would be lost silently"),
    ],
)
def test_other_pixels_are_refused_for_what_they_are(
    mode: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save("plain")
    Image.new(mode, (32, 32)).save("plain/7.png")
    capsys.readouterr()
    error = refused(capsys, "score", "plain", "--reference", "ref", "--as", "x", *OPTIONS)
    reasons = ("1 bit;", "palette", "transparency", "16 bits")
    assert why in error and sum(reason in error for reason in reasons) == 1


def test_a_reference_of_a_folder_is_that_of_the_array(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    for number, image in enumerate(np.load("real.npy")):
        Image.fromarray(image[..., 0]).save(f"folder/{number}.bmp")
    (Path("folder") / "cover.heic").touch()
    np.save("classes.npy", balanced(60))
    printed = told(
        capsys,
        *("reference", "folder", "labelled", "--computed-on", "a folder"),
        *("--labels", "classes.npy"),
    )
    assert any("natural order" in text for text in warnings_of(printed))
    printed = told(capsys, "reference", "folder", "again", "--computed-on", "a folder")
    assert not any("natural order" in text for text in warnings_of(printed))
    assert any("not read: 1 (cover.heic)" in text for text in warnings_of(printed))
    with np.load("ref/statistics.npz") as one, np.load("again/statistics.npz") as two:
        assert one.files == two.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    index = read_json(Path("again/index.json"))
    assert index["file_format"] == "BMP" and index["file_order"].startswith("natural")
