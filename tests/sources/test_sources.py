"""Images from arrays, archives, folders and samplers are the same images; bad files are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.samples import Source, from_array, from_batches, open_source
from scoring import CPU, evaluation, pictures


def read(source: Source, size: int = 7) -> np.ndarray:
    return np.concatenate(list(source.batches(size)))


def save_folder(images: np.ndarray, folder: Path) -> Path:
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(
            folder / f"{index:04}.png"
        )
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_every_source_gives_the_same_images(channels: int, tmp_path: Path) -> None:
    images = pictures(20, seed=1).repeat(channels, axis=3)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "plain.npz", arr_0=images)
    np.savez_compressed(tmp_path / "small.npz", arr_0=images, label=np.arange(20))
    save_folder(images, tmp_path / "folder")
    for name in ("a.npy", "plain.npz", "small.npz", "folder"):
        source = open_source(tmp_path / name)
        assert source.shape == images.shape and source.from_file and len(source) == 20
        for size in (7, 20, 64):
            np.testing.assert_array_equal(read(source, size), images)
    sampler = from_batches(np.array_split(images, 6), images.shape)
    np.testing.assert_array_equal(read(sampler), images)


def test_features_do_not_depend_on_the_source(tmp_path: Path) -> None:
    images, extractor = pictures(50, seed=2), load_extractor(evaluation(), CPU)
    np.savez(tmp_path / "a.npz", arr_0=images)
    one = extract(from_array(images), extractor, 16, "array")
    two = extract(open_source(tmp_path / "a.npz"), extractor, 16, "archive")
    three = extract(from_batches(np.split(images, 5), images.shape), extractor, 16, "sampler")
    assert one.sha256 == two.sha256 == three.sha256
    for other in (two, three):
        np.testing.assert_allclose(other.pooled, one.pooled, rtol=1e-5, atol=1e-6)


def test_memory_map_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pictures(20, seed=1))
    batch = next(open_source(tmp_path / "a.npy").batches(4))
    assert batch.shape == (4, 32, 32, 1) and batch.base is None  # a copy of four images alone


def test_sampler_that_yields_other_than_announced_is_refused() -> None:
    images = pictures(20, seed=1)
    with pytest.raises(ValueError, match="20 images came, expected 30"):
        read(from_batches([images], (30, 32, 32, 1)))
    with pytest.raises(ValueError, match="images from 0 on are float64"):
        read(from_batches([images / 255], images.shape))
    with pytest.raises(ValueError, match=r"images from 20 on are uint8 \(16, 32, 1\)"):
        read(from_batches([images, images[:, :16]], (40, 32, 32, 1)))


def test_missing_and_empty_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file or folder .*absent"):
        open_source(tmp_path / "absent")
    with pytest.raises(ValueError, match=f"{tmp_path} holds 0 images"):
        open_source(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="neither a .npy or .npz file nor a folder"):
        open_source(tmp_path / "a.txt")


def test_a_folder_of_hidden_images_says_so(tmp_path: Path) -> None:
    save_folder(pictures(2, seed=1), tmp_path / ".hidden")
    told = r"holds 0 images \(.avif, .*\); files that look like images and are not read: 2 "
    with pytest.raises(ValueError, match=told + r"\(.hidden/0000.png, .hidden/0001.png\)"):
        open_source(tmp_path)


def test_a_folder_that_is_read_twice_is_a_warning(tmp_path: Path) -> None:
    save_folder(pictures(2, seed=1), tmp_path / "a")
    (tmp_path / "b").symlink_to("a")
    source = open_source(tmp_path)
    assert len(source) == 4
    assert source.remarks == ["folders that are read more than once, by links: 1 (b is a)"]


def test_damaged_and_foreign_archives_are_named(tmp_path: Path) -> None:
    images, path = pictures(20, seed=1), tmp_path / "a.npz"
    np.savez(path, images)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="a.npz is not a complete .npz file"):
        open_source(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(ValueError, match="a.npz is damaged after image"):
        read(open_source(path))
    np.savez(path, images=images)
    with pytest.raises(ValueError, match="a.npz has no arr_0; it has images"):
        open_source(path)
    np.savez(path, images, mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(ValueError, match="a.npz holds mu and sigma: it is a file of statistics"):
        open_source(path)
    np.savez(path, np.array([{}]))
    with pytest.raises(ValueError, match="arr_0 must be a plain array in C order"):
        open_source(path)
    (tmp_path / "a.npy").write_bytes(b"not an array")
    with pytest.raises(ValueError, match="a.npy is not a complete .npy file"):
        open_source(tmp_path / "a.npy")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "1"])
def test_files_that_would_lose_something_silently_are_refused(mode: str, tmp_path: Path) -> None:
    save_folder(pictures(3, seed=1), tmp_path / "folder")
    Image.new(mode, (32, 32)).save(tmp_path / "folder/0001.png")
    with pytest.raises(ValueError, match=f"0001.png is of mode {mode}; only 8-bit grey"):
        open_source(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_formats_that_change_pixels_are_told(kind: str, tmp_path: Path) -> None:
    folder = save_folder(pictures(3, seed=1).repeat(3, axis=3), tmp_path / "folder")
    assert open_source(folder).remarks == []
    with Image.open(folder / "0001.png") as image:
        image.load()
    image.save(folder / "0001.png", kind)
    source = open_source(folder)
    assert source.stored["file_format"] == ", ".join(sorted([f"{kind} (1)", "PNG (2)"]))
    assert [text[:31] for text in source.remarks] == [f"1 of 3 images are stored as {kind}"[:31]]


def test_mixed_sizes_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder = save_folder(pictures(3, seed=1), tmp_path / "folder")
    whole = (folder / "0002.png").read_bytes()
    Image.new("L", (16, 32)).save(folder / "0002.png")
    with pytest.raises(ValueError, match=r"0002.png has .*\(32, 16, 1\), 0000.png has"):
        open_source(folder)
    (folder / "0002.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="0002.png is not a readable image"):
        open_source(folder)
    (folder / "0002.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="0002.png is not a readable image .*truncated"):
        read(open_source(folder))
