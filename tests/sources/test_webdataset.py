"""WebDataset's tar files as people have them; each grey must come out with its class's number."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nextbasis.config import DatasetConfig, SourceConfig
from nextbasis.sources import readers
from nextbasis.sources.archives import FOLDER_VARIABLE, archives

GREYS = (60, 120, 180)  # of the images of each class
SHARD = Path("train-0.tar")
Parts = list[tuple[str, bytes]]  # names and bytes of members


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    write(Path("val-0.tar"), pairs())
    return tmp_path


def picture(label: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("L", (12, 12), GREYS[label]).save(stream, kind)
    return stream.getvalue()


def pairs(key: Callable[[int, int], str] = "{}_{}".format, ending: str = "png") -> Parts:
    """Four images of each class with their labels."""
    return [
        part
        for label in range(3)
        for number in range(4)
        for part in (
            (f"{key(label, number)}.{ending}", picture(label)),
            (f"{key(label, number)}.cls", str(label).encode()),
        )
    ]


def write(path: Path, parts: Parts) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in parts:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def config(num_classes: int = 3) -> DatasetConfig:
    source = SourceConfig(kind="webdataset", location="train-*.tar val-*.tar")
    return DatasetConfig(
        name="toy",
        image_size=8,
        channels=1,
        num_classes=num_classes,
        num_test=0,
        sources=[source],
        checksums={},
    )


def check_whole() -> None:
    """Four images of each class, all of its grey."""
    split = readers.load(config())[0]["train"]
    np.testing.assert_array_equal(np.bincount(split.labels), [4, 4, 4])
    greys = [int(image[0, 0, 0]) for image in split.images(slice(None))]
    np.testing.assert_array_equal(greys, np.array(GREYS)[split.labels])


def refused() -> str:
    with pytest.raises(FileNotFoundError) as caught:
        readers.load(config())
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        lambda label, number: f"{label}_{number}" if number else f"v1.{label}_{number}",
        "img.{}.{}".format,
        "train.v1/{}_{}".format,
        "./{}_{}".format,
        "n{}/{}".format,
        "größe {}_{}".format,
    ],
)
@pytest.mark.parametrize("ending", ["png", "PNG", "Jpeg", "webp", "tif"])
def test_keys_with_dots_and_any_ending_lose_nothing(
    key: Callable[[int, int], str], ending: str
) -> None:
    write(SHARD, pairs(key, ending))
    check_whole()


def test_further_images_of_a_sample_are_counted_and_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    masks = [(f"0_{number}.mask.png", picture(2)) for number in range(4)]
    write(SHARD, [*pairs(), *masks, ("._0_0.png", b"\0\5\x16\7"), (".cache/0_0.png", picture(1))])
    check_whole()
    told = capsys.readouterr().out
    assert "train-0.tar: 6 images are not read: " in told and "0_3.mask.png" in told
    assert "._0_0.png" in told and ".cache/0_0.png" in told


@pytest.mark.parametrize("folder", ["", ".trash/", "__MACOSX/", "a/.cache/b/"])
def test_hidden_labels_are_left_out_as_hidden_images_are(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Mac puts a file ._NAME beside every file."""
    hidden = [f"{folder}._0_0", *([f"{folder}0_0"] if folder else [])]
    own = [(f"{name}.{ending}", b"\0\5\x16\7") for name in hidden for ending in ("png", "cls")]
    write(SHARD, [*own, *pairs()])
    check_whole()
    assert f"train-0.tar: {len(hidden)} images are not read: " in capsys.readouterr().out


def test_a_folder_above_is_not_hidden() -> None:
    write(SHARD, [(f"../{name}", data) for name, data in pairs()])
    check_whole()


def write_with_gnu_tar(*options: str) -> None:
    """The folder `files` as GNU tar writes it, in order of names."""
    call = ["tar", "cf", SHARD, *options, "--sort=name", "-C", "files", "."]
    subprocess.run(call, check=True)


def write_files(parts: Parts) -> None:
    for name, data in parts:
        path = Path("files", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def test_hard_links_are_the_files_that_they_link_to() -> None:
    """GNU tar stores files of one inode once."""
    write_files([part for part in pairs() if part[0][2] != "3"])
    for label in range(3):
        for ending in ("png", "cls"):
            file = Path(f"files/{label}_0.{ending}")
            Path(f"files/{label}_3.{ending}").hardlink_to(file)
    write_with_gnu_tar()
    with tarfile.open(SHARD) as archive:
        assert sum(info.islnk() for info in archive) == 6
    check_whole()


@pytest.mark.parametrize("name", ["2_3.png", "2_3.cls"])
def test_links_that_lead_out_of_the_file_are_refused(name: str) -> None:
    write_files([part for part in pairs() if part[0] != name])
    Path("files", name).symlink_to(f"elsewhere/{name}")
    write_with_gnu_tar()
    told = f"train-0.tar: ./{name} is a link to elsewhere/{name}, which is not followed; write "
    assert f"{told}the tar with -h" in refused()
    Path("elsewhere").mkdir()
    Path("elsewhere", name).write_bytes(dict(pairs())[name])
    Path("files", name).unlink()
    Path("files", name).symlink_to(f"../elsewhere/{name}")
    write_with_gnu_tar("-h")  # as the message says
    check_whole()


def test_a_hard_link_to_what_is_not_there_is_refused() -> None:
    with tarfile.open(write(SHARD, pairs()), "a") as archive:
        info = tarfile.TarInfo("9.png")
        info.type, info.linkname = tarfile.LNKTYPE, "gone.png"
        archive.addfile(info)
    told = "train-0.tar: 9.png is a link to gone.png, which is not followed; write the tar with "
    assert f"{told}--hard-dereference" in refused()


@pytest.mark.parametrize("form", ["--format=gnu", "--format=pax", "--sparse-version=0.1"])
def test_files_with_holes_are_refused(form: str) -> None:
    write_files(pairs())
    path = Path("files/2_3.bmp")
    Image.new("L", (512, 512)).save(path)
    whole = path.read_bytes()
    with path.open("wb") as stream:
        stream.write(whole[:2048])
        stream.truncate(len(whole))
    Path("files/2_3.png").unlink()
    write_with_gnu_tar("-S", form)
    with tarfile.open(SHARD) as archive:
        if not archive.getmember("./2_3.bmp").issparse():
            pytest.skip("this file system keeps no holes")
    assert "train-0.tar: ./2_3.bmp is stored with holes; write the tar without -S" in refused()


@pytest.mark.parametrize("kept", [16, 17, 2])
def test_a_file_cut_between_members_is_refused(kept: int) -> None:
    """What is left is a readable archive of fewer images, perhaps without a whole class."""
    write(SHARD, pairs())
    with tarfile.open(SHARD) as archive:
        start = archive.getmembers()[kept].offset
    SHARD.write_bytes(SHARD.read_bytes()[:start])
    assert "train-0.tar is not a complete tar file: it ends without end blocks" in refused()


def test_every_cut_is_refused_or_loses_nothing() -> None:
    whole = write(SHARD, pairs()).read_bytes()
    with tarfile.open(SHARD) as archive:
        last = archive.getmembers()[-1]
    end = last.offset_data + tarfile.BLOCKSIZE
    for length in range(0, end + tarfile.BLOCKSIZE, tarfile.BLOCKSIZE // 2):
        SHARD.write_bytes(whole[:length])
        assert "train-0.tar is not a complete tar file" in refused()
    SHARD.write_bytes(whole[: end + tarfile.BLOCKSIZE])
    check_whole()


def test_joined_files_and_damaged_headers_are_refused() -> None:
    whole = write(SHARD, pairs()).read_bytes()
    SHARD.write_bytes(whole + whole)
    assert "train-0.tar goes on after its end: tar files must not be joined" in refused()
    with tarfile.open(SHARD) as archive:
        start = archive.getmembers()[6].offset
    SHARD.write_bytes(whole[:start] + b"x" * 100 + whole[start + 100 :])
    assert "train-0.tar is not a complete tar file" in refused()


def test_a_class_without_images_is_named() -> None:
    write(SHARD, [(name, data) for name, data in pairs() if name[0] != "1"])
    assert "num_classes is 3, but no training image is of class 1" in refused()


@pytest.mark.parametrize("label", [b"0_1", b"1.0", "١".encode(), b"", b"0x1", b"1 2", b"9" * 20])
def test_labels_that_are_no_plain_numbers_are_refused(label: bytes) -> None:
    write(SHARD, [*pairs(), ("x.png", picture(1)), ("x.cls", label)])
    assert f"x.cls holds {label!r}, not a class number of at most 18 digits" in refused()


def test_a_label_of_very_many_digits_is_named() -> None:
    write(SHARD, [*pairs(), ("x.png", picture(1)), ("x.cls", b"9" * 5000)])
    assert "train-0.tar: x.cls holds b'99999999999999999999', not a class number" in refused()


@pytest.mark.parametrize("further", ["0_0.png", "0_0.cls", "./0_0.png", "0_0.jpg"])
def test_what_is_there_twice_is_refused(further: str) -> None:
    write(SHARD, [*pairs(), (further, picture(2) if further[-3:] != "cls" else b"2")])
    assert "share a key" in (error := refused()) or "is there twice" in error


def test_an_image_without_a_label_is_named_whatever_its_ending() -> None:
    write(SHARD, [*pairs(), ("extra.webp", picture(1, "WEBP"))])
    assert "extra.webp has no class label (.cls) beside it" in refused()


def test_shards_come_in_natural_order() -> None:
    for number in range(1, 12):
        write(Path(f"train-{number}.tar"), pairs())
    names = [path.name for path in archives("train-*.tar val-*.tar")["train"]]
    assert names == [f"train-{number}.tar" for number in range(1, 12)]


@pytest.mark.parametrize("folder", ["[brackets] and blank", "a*b", "q?{1..2}", "[!x]"])
def test_a_folder_with_signs_of_patterns_is_read(
    folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(Path(folder, "train-0.tar"), pairs())
    write(Path(folder, "val-0.tar"), pairs())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / folder))
    check_whole()
    assert archives("train-*.tar val-0.tar")["train"] == [tmp_path / folder / "train-0.tar"]


@pytest.mark.parametrize(
    "location",
    [
        "train/a-*.tar val/a-*.tar",
        "my/data/train/a-{0..1}.tar my/data/val/a-*.tar",
        "/my/train/a-*.tar ../my/val/a-0.tar",
        "t*n/a-*.tar v[a]l/a-*.tar",
    ],
)
def test_the_last_folders_of_a_pattern_count_in_another_folder(
    location: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for name in ("train/a-0", "train/a-1", "val/a-0", "a-0"):
        write(data / f"{name}.tar", pairs())
    monkeypatch.setenv(FOLDER_VARIABLE, str(data))
    assert archives(location) == {
        "train": [data / "train/a-0.tar", data / "train/a-1.tar"],
        "test": [data / "val/a-0.tar"],
    }


def test_numbered_folders_of_a_pattern_must_all_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("part-0/a", "part-1/a", "val"):
        write(tmp_path / f"data/{name}.tar", pairs())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "data"))
    found = archives("x/part-{0..1}/*.tar x/val.tar")["train"]
    assert found == [tmp_path / f"data/part-{number}/a.tar" for number in range(2)]
    with pytest.raises(FileNotFoundError, match=r"no file .*/data/part-2/\*.tar"):
        archives("x/part-{0..2}/*.tar x/val.tar")


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("train/a-*.tar val/a-*.tar", "a-0.tar is named for both"),  # no folder train, none val
        ("[ab]*.tar a-*.tar", "a-0.tar is named for both"),
        ("a-0.tar a-0.tar", "a-0.tar is named for both"),
        ("a-0.tar link.tar", "link.tar is the same as .*/a-0.tar"),
        ("a-0.tar hard.tar", "hard.tar is the same as .*/a-0.tar"),
    ],
)
def test_a_file_in_both_splits_is_refused(
    location: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write(data / "a-0.tar", pairs())
    (data / "link.tar").symlink_to("a-0.tar")
    (data / "hard.tar").hardlink_to(data / "a-0.tar")
    monkeypatch.setenv(FOLDER_VARIABLE, str(data))
    with pytest.raises(ValueError, match=f"must not be training images, but .*{told}"):
        archives(location)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_file_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    write(SHARD, pairs())
    odd = Path("train-1.tar")
    {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to("gone")}[kind](odd)
    assert "train-1.tar is a folder, a pipe or a link that leads nowhere, where" in refused()


def test_brackets_in_a_location_are_read_as_they_are_or_as_a_choice() -> None:
    write(Path("[a]/train-0.tar"), pairs())
    write(Path("b/train-0.tar"), pairs())
    found = archives("[a]/train-*.tar [bc]/train-[0-9].tar")
    assert found == {"train": [Path("[a]/train-0.tar")], "test": [Path("b/train-0.tar")]}


def test_captions_begin_behind_a_byte_order_mark() -> None:
    parts = [("a.png", picture(0)), ("a.txt", "\ufeffa café\r\n".encode())]
    for path in (SHARD, Path("val-0.tar")):
        write(path, parts)
    assert readers.load(config(num_classes=0))[0]["train"].captions == ["a café"]
