"""Folders of photographs as people have them: each colour must come out with its class's number."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nextbasis.config import DatasetConfig, DatasetStage, SourceConfig
from nextbasis.data.arrays import Dataset
from nextbasis.sources import readers
from nextbasis.sources.archives import FOLDER_VARIABLE
from nextbasis.stages import dataset as stage

NAMES = ("n1", "n2", "n3")
GREYS = (60, 120, 180)  # of the images of each class


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    for split in ("train", "val"):
        for name, grey in zip(NAMES, GREYS, strict=True):
            for number in range(4):
                photo(f"{split}/{name}/{name}_{number}.png", grey)
    return tmp_path


def photo(path: str, grey: int) -> Path:
    file = Path("photos", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (12, 12), grey).save(file)
    return file


def config(num_classes: int = 3) -> DatasetConfig:
    return DatasetConfig(
        name="toy",
        image_size=8,
        channels=1,
        num_classes=num_classes,
        num_test=0,
        sources=[SourceConfig(kind="image_folder", location="photos")],
        checksums={},
    )


def made(num_classes: int = 3) -> Dataset:
    stage.main(DatasetStage(reproducible=True, scale="toy", key="", dataset=config(num_classes)))
    return Dataset(Path("results/toy/dataset"))


def check(data: Dataset, train: tuple[int, ...], test: tuple[int, ...] = (4, 4, 4)) -> None:
    """So many images of each class, all of its grey, in both splits."""
    for images, labels, counts in (
        (data.train_images, data.train_labels, train),
        (data.test_images, data.test_labels, test),
    ):
        np.testing.assert_array_equal(np.bincount(labels), counts)
        np.testing.assert_array_equal(images[:, 0, 0, 0], np.array(GREYS)[labels])


def refused(num_classes: int = 3) -> str:
    with pytest.raises(FileNotFoundError) as caught:
        readers.load(config(num_classes))
    return str(caught.value)


def test_linked_nested_and_oddly_named_images_are_read() -> None:
    shutil.move("photos/train/n2", "elsewhere")
    Path("photos/train/n2").symlink_to("../../elsewhere")
    photo("train/n1/n1_0.png", 60).rename("photos/train/n1/n1_0.PnG")
    for name in ("a.webp", "b.gif", "c.bmp", "d.tif"):
        photo(f"train/n3/more/{name}", 180)
    check(made(), (4, 4, 8))


@pytest.mark.parametrize("name", ["[brackets] and blank", "a*b?", "{1..2}", "größe 'x'"])
def test_a_folder_with_signs_of_patterns_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("train/n2/[1]*.png", 120)
    Path("photos").rename(name)
    monkeypatch.setenv(FOLDER_VARIABLE, name)
    check(made(), (4, 5, 4))


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", "lost+found", "@eaDir", "__MACOSX", ".thumbnails", ".git"]
)
def test_folders_of_systems_are_no_class(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Sorted first, each would be class 0 and shift all others."""
    photo(f"train/{name}/n1_0.png", 0)
    Path("photos/val", name).mkdir()
    check(made(), (4, 4, 4))
    assert f"are not read: 1 ({name}/n1_0.png)" in capsys.readouterr().out


def test_what_is_left_out_is_counted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    photo("train/contact_sheet.png", 0)
    photo("train/n1/._n1_0.png", 0)
    Path("photos/train/n2/phone.heic").touch()
    check(made(), (4, 4, 4))
    told = "photos/train: files that look like images and are not read: 3 (n1/._n1_0.png, "
    assert told + "n2/phone.heic, contact_sheet.png)" in capsys.readouterr().out


def test_a_split_whose_images_are_all_hidden_says_so() -> None:
    Path("photos/val").rename("photos/hidden")
    Path("photos/val").mkdir()
    Path("photos/hidden").rename("photos/val/.cache")
    told = "photos/val holds no class folder but 0 images; expected photos/val/<class>/<image>, one"
    error = refused()
    assert told in error and "; files that look like images and are not read: 12 (" in error


def test_a_class_that_is_another_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("photos/train/n2")
    Path("photos/train/n2").symlink_to("n1")
    readers.load(config())
    told = "photos/train: folders that are read more than once, by links: 1 (n2 is n1)"
    assert told in capsys.readouterr().out


def test_other_classes_in_val_are_listed() -> None:
    shutil.move("photos/val/n2", "photos/val/n4")
    error = refused()
    assert "only photos/train has n2; only photos/val has n4" in error
    shutil.rmtree("photos/val/n4")
    error = refused()
    assert "only photos/train has n2" in error and "only photos/val" not in error


@pytest.mark.parametrize("link", ["val", "val/n2"])
def test_training_images_that_are_linked_as_test_images_are_refused(link: str) -> None:
    shutil.rmtree(Path("photos", link))
    target = Path("photos", link.replace("val", "train")).resolve()
    Path("photos", link).symlink_to(target)
    name = link.partition("/")[2] or "n1"
    told = f"photos/val/{name} is the same as photos/train/{name}"
    assert f"test images must not be training images, but {told}" in refused()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("café", "cafe\u0301"),
        ("cat", "cat "),
        ("a b", "a\xa0b"),
        ("cat", "cat\u200b"),
        ("größe", "gro\u0308ße"),
    ],
)
def test_other_classes_that_look_alike_are_told_apart(one: str, other: str) -> None:
    for split, name in (("train", one), ("val", other)):
        Path("photos", split, "n2").rename(Path("photos", split, name))
    told = f"only photos/train has {one!a}; only photos/val has {other!a}"
    assert told in refused()


def test_an_empty_class_and_a_flat_split_are_named() -> None:
    for path in Path("photos/val/n2").iterdir():
        path.unlink()
    assert "class folders of photos/val hold no image: n2" in refused()
    for path in [*Path("photos/val").glob("*/*")]:
        path.rename(Path("photos/val", path.name))
    for name in NAMES:
        Path("photos/val", name).rmdir()
    assert "photos/val holds no class folder but 8 images; expected photos/val/<class>" in refused()


def test_classes_with_numbers_are_numbered_by_them(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("photos")
    for split in ("train", "val"):
        for number in range(11):
            photo(f"{split}/{number}/a.png", 20 * number)
    data = made(11)
    np.testing.assert_array_equal(data.train_images[:, 0, 0, 0], 20 * data.train_labels)
    assert data.captions == [str(number) for number in range(11)]
    assert "natural order of their folders: 2 is number 2, and 3 among plain" in (
        capsys.readouterr().out
    )


def test_images_of_a_class_come_in_natural_order() -> None:
    for number in range(4, 12):
        photo(f"train/n1/n1_{number}.png", 60)
    for number in range(12):
        Image.new("L", (12, 12), number).save(f"photos/train/n1/n1_{number}.png")
    images = made().train_images
    np.testing.assert_array_equal(images[:12, 0, 0, 0], np.arange(12))


def test_16_bit_grey_is_no_white() -> None:
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (40, 1))
    Image.fromarray(ramp).save("photos/train/n1/n1_4.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save("photos/train/n1/n1_5.png")
    images = made().train_images
    np.testing.assert_array_equal(images[4], images[5])
    assert 126 < images[5].mean() < 128


def test_damaged_and_unscalable_images_are_named() -> None:
    Image.fromarray(np.ones((12, 12), np.float32)).save("photos/train/n1/n1_4.tif")
    with pytest.raises(ValueError, match="photos/train/n1/n1_4.tif .*32 bits"):
        made()
    assert not Path("results/toy/dataset").exists()
