"""Sources, arrays and batch order, against bytes written by hand and Pillow's own resizing."""

import gzip
import json
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nextbasis.config import DatasetConfig, DatasetStage, SourceConfig
from nextbasis.data import arrays
from nextbasis.data.epochs import Epochs, batch_indices
from nextbasis.data.pictures import to_uint8
from nextbasis.sources import debian, idx
from nextbasis.sources import readers as sources
from nextbasis.sources.images import centre_crop, load_photo, pad
from nextbasis.stages import dataset as stage

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def data_config(**changes: object) -> DatasetConfig:
    values: dict = {
        "name": "toy",
        "image_size": 4,
        "channels": 1,
        "num_classes": 3,
        "num_test": 0,
        "sources": [SourceConfig(kind="local", location="here")],
        "checksums": {},
    }
    return DatasetConfig(**(values | changes))


def write_idx(folder: Path) -> dict[str, np.ndarray]:
    """Six training and three test images of 2x2 pixels."""
    folder.mkdir()
    written = {}
    for prefix, count in (("train", 6), ("t10k", 3)):
        written[f"{prefix}-images-idx3-ubyte"] = np.arange(count * 4).reshape(count, 2, 2)
        written[f"{prefix}-labels-idx1-ubyte"] = np.arange(count) % 3
    for name, array in written.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
    return written


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(sources.FOLDER_VARIABLE, raising=False)
    return tmp_path


def test_idx_parses_bytes_written_by_hand():
    data = b"\x00\x00\x08\x02\x00\x00\x00\x02\x00\x00\x00\x03" + bytes((1, 2, 3, 250, 251, 252))
    np.testing.assert_array_equal(idx.parse(data, "x"), [[1, 2, 3], [250, 251, 252]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x is not an idx file.*nothing"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "x is not an idx file.*00 00 0d 01"),
        (b"\x00\x00\x08\x02\x00\x00", "x is truncated inside its header of 12 bytes"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "x holds 3 bytes.*expected 5"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x01abc", "x holds 3 bytes.*expected 1"),
    ],
)
def test_idx_names_what_is_wrong(data, message):
    with pytest.raises(ValueError, match=message):
        idx.parse(data, "x")


@pytest.mark.parametrize("cut", [0, 5, 40])
def test_truncated_gzip_names_the_file(tmp_path, cut):
    path = tmp_path / "broken.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(200)))[:cut])
    with pytest.raises(ValueError, match="broken.gz"):
        idx.read(path, {})


def test_checksum_mismatch_names_file_expected_and_found(workspace):
    write_idx(workspace / "here")
    wrong = "0" * 64
    config = data_config(checksums={"t10k-labels-idx1-ubyte": wrong})
    with pytest.raises(FileNotFoundError, match=f"t10k-labels.*SHA-256 [0-9a-f]{{64}}.*{wrong}"):
        sources.load(config)


def test_next_source_is_used_after_a_checksum_mismatch(workspace, monkeypatch, capsys):
    write_idx(workspace / "here")
    labels = np.arange(3)
    good = {"train": sources.Split(labels=labels, images=lambda part: iter(()))}
    monkeypatch.setitem(sources.READERS, "debian", lambda config, location: good)
    config = data_config(
        sources=[
            SourceConfig(kind="local", location="here"),
            SourceConfig(kind="debian", location="package"),
        ],
        checksums={NAMES[0]: "0" * 64},
    )
    splits, name = sources.load(config)
    assert splits is good and name == "debian package"
    assert "local here" in capsys.readouterr().out


def test_all_sources_failing_lists_every_reason(workspace, monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)

    class Offline:
        def __init__(self, root: object, download: bool) -> None:
            raise RuntimeError("Error downloading x")

    torchvision = types.ModuleType("torchvision")
    torchvision.datasets = types.SimpleNamespace(FashionMNIST=Offline)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    config = data_config(
        sources=[
            SourceConfig(kind="local", location="here"),
            SourceConfig(kind="debian", location="dataset-fashion-mnist"),
            SourceConfig(kind="torchvision", location="FashionMNIST"),
        ]
    )
    with pytest.raises(FileNotFoundError) as caught:
        sources.load(config)
    message = str(caught.value)
    assert "here/train-images-idx3-ubyte.gz" in message
    assert "apt-get is not installed" in message
    assert "torchvision cannot download FashionMNIST (Error downloading x)" in message
    told = "set NEXTBASIS_DATA to a folder that holds its files or connect to the network"
    assert message.splitlines()[-1] == f"To mend this, {told}."


def last_line(config: DatasetConfig) -> str:
    with pytest.raises(FileNotFoundError) as caught:
        sources.load(config)
    return str(caught.value).splitlines()[-1]


def test_missing_files_are_asked_for_where_they_are_looked_for(workspace, monkeypatch):
    told = "To mend this, set NEXTBASIS_DATA to a folder that holds its files."
    assert last_line(data_config()) == told
    monkeypatch.setenv(sources.FOLDER_VARIABLE, "elsewhere")
    told = "To mend this, put its files into elsewhere, which NEXTBASIS_DATA names."
    assert last_line(data_config()) == told
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)
    package = [SourceConfig(kind="debian", location="package")]
    assert last_line(data_config(sources=package)) == "To mend this, connect to the network."


@pytest.mark.parametrize("is_named", [True, False])
def test_files_that_are_there_and_damaged_need_no_other_folder(workspace, monkeypatch, is_named):
    write_idx(workspace / "here")
    if is_named:
        monkeypatch.setenv(sources.FOLDER_VARIABLE, "here")
    (workspace / "here/train-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    local = SourceConfig(kind="local", location="here")
    assert "train-labels-idx1-ubyte.gz cannot be unpacked" in last_line(data_config())
    photos = SourceConfig(kind="image_folder", location="photos")
    assert "no folder " in last_line(data_config(sources=[local, photos]))


@pytest.mark.parametrize(
    ("kind", "location", "place"),
    [
        ("image_folder", "unused", "image_folder elsewhere"),
        ("webdataset", "a.tar b.tar", "webdataset a.tar b.tar below elsewhere"),
        ("local", "here", "local here"),
    ],
)
def test_the_folder_that_is_read_is_told(workspace, monkeypatch, capsys, kind, location, place):
    monkeypatch.setenv(sources.FOLDER_VARIABLE, "elsewhere")
    config = data_config(sources=[SourceConfig(kind=kind, location=location)])
    last_line(config)
    assert f"dataset toy: trying {place}\n" in capsys.readouterr().out
    monkeypatch.delenv(sources.FOLDER_VARIABLE)
    last_line(config)
    assert f"dataset toy: trying {kind} {location}\n" in capsys.readouterr().out


def test_environment_variable_is_looked_in_first(workspace, monkeypatch):
    write_idx(workspace / "elsewhere")
    monkeypatch.setenv(sources.FOLDER_VARIABLE, str(workspace / "elsewhere"))
    splits, _ = sources.load(data_config())
    assert len(splits["train"].labels) == 6


def test_stage_pads_and_writes_what_the_files_hold(workspace):
    written = write_idx(workspace / "here")
    stage.main(DatasetStage(reproducible=True, scale="toy", key="", dataset=data_config()))
    data = arrays.Dataset(Path("results/toy/dataset"))
    images = written["train-images-idx3-ubyte"]
    assert data.train_images.shape == (6, 4, 4, 1)
    np.testing.assert_array_equal(data.train_images[:, 1:3, 1:3, 0], images)
    assert data.train_images.sum() == images.sum()  # nothing but zeros around them
    np.testing.assert_array_equal(data.test_labels, [0, 1, 2])


def test_stage_leaves_nothing_behind_when_it_fails(workspace):
    with pytest.raises(FileNotFoundError):
        stage.main(DatasetStage(reproducible=True, scale="toy", key="", dataset=data_config()))
    assert not Path("results/toy/dataset").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 2}, "dataset.num_classes is 2, but labels reach from 0 to 2"),
        ({"image_size": 1}, "dataset.image_size is 1"),
        ({"channels": 3}, "dataset.channels is 3"),
    ],
)
def test_data_that_does_not_fit_the_config_names_the_key(workspace, changes, message):
    write_idx(workspace / "here")
    with pytest.raises(FileNotFoundError, match=message):
        sources.load(data_config(**changes))


def test_digits_split_has_every_class_equally_often_in_the_test_part():
    config = data_config(image_size=8, num_classes=10, num_test=300)
    splits = sources._sklearn(config, "digits")
    np.testing.assert_array_equal(np.bincount(splits["test"].labels), np.full(10, 30))
    assert len(splits["train"].labels) == 1797 - 300
    images = np.stack(list(splits["train"].images(slice(None))))
    assert images.dtype == np.uint8 and images.max() == 255 and images.shape[1:] == (8, 8, 1)


@pytest.mark.parametrize("size", [(37, 41), (64, 33), (16, 70), (8, 9)])
def test_centre_crop_equals_pillow_by_hand(size):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    width, height = size
    by_hand = image
    if min(size) >= 32:  # 37x41, 64x33: two halvings bring the shorter side to 9 or 8
        by_hand = by_hand.resize((width // 2, height // 2), Image.Resampling.BOX)
        by_hand = by_hand.resize((width // 4, height // 4), Image.Resampling.BOX)
    elif min(size) >= 16:  # 16x70: one halving
        by_hand = by_hand.resize((width // 2, height // 2), Image.Resampling.BOX)
    short = min(by_hand.size)
    scaled = by_hand.resize(
        tuple(round(n * 8 / short) for n in by_hand.size), Image.Resampling.BICUBIC
    )
    array = np.asarray(scaled)
    top, left = (array.shape[0] - 8) // 2, (array.shape[1] - 8) // 2
    expected = array[top : top + 8, left : left + 8]
    np.testing.assert_array_equal(np.asarray(centre_crop(image, 8)), expected)


def make_photos(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for part, count in (("train", 3), ("val", 1)):
        for name in ("n02", "n01"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")


def test_image_folder_labels_follow_sorted_class_names(workspace):
    make_photos(workspace / "photos")
    config = data_config(
        image_size=8,
        channels=3,
        num_classes=2,
        sources=[SourceConfig(kind="image_folder", location="photos")],
    )
    stage.main(DatasetStage(reproducible=True, scale="toy", key="", dataset=config))
    data = arrays.Dataset(Path("results/toy/dataset"))
    np.testing.assert_array_equal(data.train_labels, [0, 0, 0, 1, 1, 1])
    expected = load_photo(workspace / "photos/train/n02/1.png", 8, 3)
    np.testing.assert_array_equal(data.train_images[4], expected)


def test_image_folder_fails_at_once_when_missing_or_incomplete(workspace):
    config = data_config(sources=[SourceConfig(kind="image_folder", location="photos")])
    with pytest.raises(FileNotFoundError, match="no folder photos/train"):
        sources.load(config)
    make_photos(workspace / "photos")
    with pytest.raises(FileNotFoundError, match="2 class folders, expected .* = 3"):
        sources.load(config)


def test_broken_photo_names_the_file(tmp_path):
    path = tmp_path / "broken.jpeg"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="broken.jpeg is not a readable image"):
        load_photo(path, 8, 3)


def test_pad_refuses_larger_images():
    with pytest.raises(ValueError, match="dataset.image_size is 4, but images are 5x2"):
        pad(np.zeros((5, 2, 1), np.uint8), 4)


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        (np.float32, (None, 2), "dtype int64, expected float32"),
        (np.int64, (None, 3), r"shape \(4, 2\), expected \(None, 3\)"),
        (np.int64, (4,), r"shape \(4, 2\), expected \(4,\)"),
    ],
)
def test_open_array_names_file_expected_and_found(tmp_path, dtype, shape, message):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 2), np.int64))
    with pytest.raises(ValueError, match=f"a.npy has {message}"):
        arrays.open_array(path, dtype, shape)


def test_open_array_finds_missing_truncated_and_changed_files(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(FileNotFoundError, match="a.npy"):
        arrays.open_array(path, np.int64, (4,))
    np.save(path, np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="a.npy has SHA-256 .* expected 123"):
        arrays.open_array(path, np.int64, (4,), "123")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="a.npy is not a complete .npy file"):
        arrays.open_array(path, np.int64, (4,))


def test_dataset_with_changed_pixels_is_refused(workspace):
    write_idx(workspace / "here")
    stage.main(DatasetStage(reproducible=True, scale="toy", key="", dataset=data_config()))
    path = Path("results/toy/dataset/test_images.npy")
    images = np.load(path)
    images[0, 0, 0, 0] += 1
    np.save(path, images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "HASHED_BELOW", 1)  # too many to be read by every job
        arrays.Dataset(path.parent)
    with pytest.raises(ValueError, match="test_images.npy has SHA-256"):
        arrays.Dataset(path.parent)


def test_index_without_a_key_names_the_file(tmp_path):
    (tmp_path / "index.json").write_text(json.dumps({"image_size": 4}))
    with pytest.raises(ValueError, match="index.json.*channels"):
        arrays.Dataset(tmp_path)


def test_bytes_survive_the_way_to_pixels_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    pixels = arrays.as_images(levels, arrays.torch.device("cpu"))
    assert pixels.min() == -1 and pixels.max() == 1
    back = to_uint8(pixels, "round").transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(back, levels)


@given(num_items=st.integers(1, 40), batch_size=st.integers(1, 40), seed=st.integers(0, 2**31 - 1))
def test_every_item_comes_at_most_once_an_epoch_and_all_come_if_batches_fit(
    num_items, batch_size, seed
):
    batch_size = min(batch_size, num_items)
    order = Epochs(num_items, batch_size, seed)
    for epoch in range(2):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        seen = np.concatenate([order.batch(step) for step in steps])
        assert len(np.unique(seen)) == len(seen) == num_items // batch_size * batch_size


def test_a_step_alone_determines_its_batch():
    order = Epochs(50, 8, seed=3)
    straight = [order.batch(step).copy() for step in range(20)]
    for step in (19, 0, 7, 12):  # any order, as after a resume
        np.testing.assert_array_equal(batch_indices(50, 8, 3, step), straight[step])
    assert not np.array_equal(straight[0], straight[6])  # step 6 opens the second epoch
    assert not np.array_equal(straight[0], batch_indices(50, 8, 4, 0))


def test_batches_larger_than_the_data_are_refused():
    with pytest.raises(ValueError, match=r"batch_size must lie in \[1, 5\].*got 6"):
        Epochs(5, 6, 0)


def fake_tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_debian_package_is_unpacked_without_root(workspace, monkeypatch):
    write_idx(workspace / "package")
    tools = workspace / "tools"
    tools.mkdir()
    fake_tool(tools, "apt-get", 'for a; do case "$a" in download) : > toy.deb;; esac; done')
    fake_tool(tools, "dpkg-deb", f'mkdir -p "$3/usr" && cp {workspace}/package/*.gz "$3/usr"')
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    config = data_config(sources=[SourceConfig(kind="debian", location="toy-package")])
    splits, name = sources.load(config)
    assert name == "debian toy-package" and len(splits["train"].labels) == 6
    assert len(list(Path("data/toy").glob("*.gz"))) == 4


def test_debian_failure_shows_the_clients_last_line(workspace, monkeypatch):
    tools = workspace / "tools"
    tools.mkdir()
    fake_tool(tools, "apt-get", "echo first >&2; echo 'E: no network' >&2; exit 100")
    fake_tool(tools, "dpkg-deb", "exit 0")
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    with pytest.raises(ValueError, match="apt-get failed with status 100: E: no network"):
        debian.fetch("toy-package", "*.gz", workspace / "data")
