"""WebDataset shards and Parquet files hold the pictures put in; what is wrong is named."""

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nextbasis.config import DatasetConfig, SourceConfig
from nextbasis.sources import readers as sources
from nextbasis.sources.archives import FOLDER_VARIABLE, archives
from nextbasis.sources.images import load_photo
from nextbasis.sources.splits import Split

TARS = "shards/train-{00..02}.tar shards/val-*.tar"
PARQUET = "hub/train-*.parquet hub/validation-*.parquet"
Sample = tuple[str, bytes, bytes | None]  # key, picture, label


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return tmp_path


def config(kind: str = "webdataset", location: str = TARS) -> DatasetConfig:
    source = SourceConfig(kind=kind, location=location)
    return DatasetConfig(
        name="toy",
        image_size=8,
        channels=3,
        num_classes=3,
        num_test=0,
        sources=[source],
        checksums={},
    )


def picture(number: int) -> bytes:
    """A PNG; no two numbers have the same size."""
    pixels = np.random.default_rng(number).integers(0, 256, (9 + number, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def expected(number: int) -> np.ndarray:
    return load_photo(io.BytesIO(picture(number)), 8, 3)


def write_tar(path: Path, samples: list[Sample], ending: str = "png") -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, image, label in samples:
            parts = {ending: image, "json": b"{}"} | ({} if label is None else {"cls": label})
            for name, data in parts.items():
                info = tarfile.TarInfo(f"{key}.{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def samples(*numbers: int) -> list[Sample]:
    return [
        (f"n{number % 3}/{number:04}", picture(number), b"%d\n" % (number % 3))
        for number in numbers
    ]


def write_shards() -> None:
    """Nine training images in three files, two test images in one."""
    for shard in range(3):
        write_tar(Path(f"shards/train-{shard:02}.tar"), samples(*range(3 * shard, 3 * shard + 3)))
    write_tar(Path("shards/val-0.tar"), samples(20, 21), "JPEG")  # a PNG in truth: that is fine


def check_split(split: Split, numbers: list[int]) -> None:
    np.testing.assert_array_equal(split.labels, [number % 3 for number in numbers])
    for part in (slice(None), slice(0, 2), slice(1, 7), slice(7, 20), slice(3, 3)):
        found = list(split.images(part))
        assert len(found) == len(numbers[part])
        for image, number in zip(found, numbers[part], strict=True):
            np.testing.assert_array_equal(image, expected(number))


def test_shards_hold_labels_and_pictures_of_any_size_in_order() -> None:
    write_shards()
    splits, name = sources.load(config())
    assert name == f"webdataset {TARS}"
    check_split(splits["train"], list(range(9)))
    check_split(splits["test"], [20, 21])


def test_another_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_shards()
    Path("shards").rename("elsewhere")
    with pytest.raises(FileNotFoundError, match="no file shards/train-00.tar"):
        archives(TARS)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    check_split(sources.load(config())[0]["train"], list(range(9)))


def test_a_missing_file_of_a_range_is_named() -> None:
    write_shards()
    assert [path.name for path in archives(TARS)["train"]] == [f"train-0{n}.tar" for n in range(3)]
    Path("shards/train-01.tar").unlink()
    with pytest.raises(FileNotFoundError, match="no file shards/train-01.tar"):
        archives(TARS)
    with pytest.raises(ValueError, match="two patterns separated by a blank.*got 'a.tar'"):
        archives("a.tar")
    with pytest.raises(ValueError, match=r"the range \{3..1\} of a\{3..1\}.tar is empty"):
        archives("a{3..1}.tar b.tar")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("a/7", picture(7), None), r"train-01.tar: a/7.png has no class label \(.cls\) beside it"),
        (("a/7", picture(7), b"cat"), r"train-01.tar: a/7.cls holds b'cat', not a class number"),
        (
            ("a/7", picture(7), b"3"),
            "num_classes is 3, but labels reach from 0 to 3 .*train-01.tar",
        ),
        (("a/7", picture(7), b"-1"), "but labels reach from -1 to 1 in 2 images of .*train-01.tar"),
        (("n0/0003", picture(7), b"1"), "train-01.tar: n0/0003.png and n0/0003.png share a key"),
    ],
)
def test_wrong_labels_are_named(wrong: Sample, message: str) -> None:
    write_shards()
    path = Path("shards/train-01.tar")
    write_tar(path, [*samples(3), wrong] if wrong[2] != b"-1" else [*samples(4), wrong])
    with pytest.raises(FileNotFoundError, match=message):
        sources.load(config())


def test_a_label_without_a_picture_is_named() -> None:
    write_shards()
    write_tar(Path("shards/val-0.tar"), samples(20), ending="txt")
    with pytest.raises(FileNotFoundError, match=r"val-0.tar: n2/0020.cls has no image \(avif, bmp"):
        sources.load(config())


def test_unreadable_pictures_and_tar_files_are_named() -> None:
    write_shards()
    write_tar(Path("shards/train-01.tar"), [*samples(3), ("n0/x", b"no picture", b"0")])
    split = sources.load(config())[0]["train"]
    with pytest.raises(ValueError, match="train-01.tar: n0/x.png is not a readable image"):
        list(split.images(slice(None)))
    path = Path("shards/train-02.tar")
    whole = path.read_bytes()
    for damaged in (b"no tar file", whole[:700]):
        path.write_bytes(damaged)
        with pytest.raises(FileNotFoundError, match="train-02.tar is not a complete tar file"):
            sources.load(config())


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hub").mkdir()
    for split in ("train", "validation"):
        Path(f"hub/{split}-0.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileNotFoundError, match=r"the extra `parquet`: pip install 'nextbasis\["):
        sources.load(config("parquet", PARQUET))


def write_parquet(split: str, numbers: list[int], **columns: object) -> None:
    """Rows as Hugging Face stores images, three in a row group."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    Path("hub").mkdir(exist_ok=True)
    images = [{"bytes": picture(number), "path": f"{number}.png"} for number in numbers]
    table = {"image": images, "label": [number % 3 for number in numbers]} | columns
    path = f"hub/{split}-{numbers[0]:02}.parquet"
    parquet.write_table(pyarrow.table(table), path, row_group_size=3)


def test_parquet_files_hold_labels_and_pictures_in_order() -> None:
    write_parquet("train", [0, 1, 2, 3, 4])
    write_parquet("train", [5, 6, 7, 8])
    write_parquet("validation", [20, 21])
    splits, _ = sources.load(config("parquet", PARQUET))
    check_split(splits["train"], list(range(9)))
    check_split(splits["test"], [20, 21])


def test_parquet_files_whose_labels_mean_other_classes_are_refused() -> None:
    """Hugging Face's libraries keep the names of the classes beside the table."""
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write_parquet("train", [0, 1, 2])
    write_parquet("validation", [20, 21])
    for split, names in (("train-00", ["cat", "dog", "owl"]), ("validation-20", ["cat", "owl"])):
        path = f"hub/{split}.parquet"
        label = {"names": names, "_type": "ClassLabel"}
        told = json.dumps({"info": {"features": {"image": {}, "label": label}}})
        table = parquet.read_table(path).replace_schema_metadata({"huggingface": told})
        parquet.write_table(table, path)
    with pytest.raises(FileNotFoundError, match="only hub/train-00.parquet has dog"):
        sources.load(config("parquet", PARQUET))


def test_wrong_parquet_files_are_named() -> None:
    write_parquet("validation", [20, 21])
    for columns, message in (
        ({"label": [0, None]}, "train-00.parquet: row 1 has the label None, not a class number"),
        ({"label": [0, -1]}, "labels reach from -1 to 0 in 2 images of hub/train-00.parquet"),
    ):
        write_parquet("train", [0, 1], **columns)
        with pytest.raises(FileNotFoundError, match=message):
            sources.load(config("parquet", PARQUET))
    write_parquet("train", [0, 1, 2], image=[b"no picture", picture(1), picture(2)])
    split = sources.load(config("parquet", PARQUET))[0]["train"]
    with pytest.raises(ValueError, match="train-00.parquet: image 0 of row group 0 is not a read"):
        list(split.images(slice(None)))
    Path("hub/train-00.parquet").write_bytes(b"no table")
    with pytest.raises(FileNotFoundError, match="train-00.parquet is not a complete Parquet file"):
        sources.load(config("parquet", PARQUET))
