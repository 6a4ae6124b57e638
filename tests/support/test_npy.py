"""NumPy's files of others: every damage and every other kind of file is one line with its name."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nextbasis.basis.brought import READERS
from nextbasis.data.arrays import open_array
from nextbasis.scoring.brought import read_labels
from nextbasis.scoring.protocol import check_images
from nextbasis.scoring.reference import read_statistics
from nextbasis.scoring.samples import open_source
from nextbasis.support.files import read_json
from nextbasis.support.npy import read_npy, read_npz
from scoring import NUM_CLASSES, evaluation, gaussian

IMAGES = np.arange(20 * 4 * 4, dtype=np.uint8).reshape(20, 4, 4, 1)
STATISTICS = gaussian(4, 0)
HEADERS = {  # what the header says, and what it says when it is damaged
    "magic": (b"\x93NUMPY", b"\x93NUMPX"),
    "version": (b"NUMPY\x01", b"NUMPY\x09"),
    "key": (b"'descr'", b"'descX'"),
    "brace": (b"{'descr'", b"{{descr'"),
    "type": (b"'|u1'", b"'|q9'"),
    "letters": (b"'descr'", b"'d\xff\xfe\x00r'"),
    "sign": (b"(20, 4, 4, 1)", b"(-2, 4, 4, 1)"),
    "word": (b"False", b"Falsy"),
}


def archive(path: Path, damage: str = "", **arrays: np.ndarray) -> Path:
    """An .npz file whose arrays' headers are damaged."""
    before, after = HEADERS.get(damage, (b"", b""))
    with zipfile.ZipFile(path, "w") as made:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            made.writestr(f"{name}.npy", stream.getvalue().replace(before, after, 1))
    return path


def refused(read: Callable[[Path], object], path: Path) -> str:
    """The message, of one line, with the file's name and without advice to run what it holds."""
    with pytest.raises(ValueError) as error:
        read(path)
    message = str(error.value)
    assert path.name in message and "\n" not in message
    assert "pickle" not in message and "unsafely" not in message
    return message


@pytest.mark.parametrize("damage", HEADERS)
def test_damaged_headers_are_named(damage: str, tmp_path: Path) -> None:
    path, (before, after) = tmp_path / "images.npy", HEADERS[damage]
    np.save(path, IMAGES)
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    for read in (read_npy, lambda path: read_npy(path, mapped=True), open_source, read_labels):
        assert "not a complete .npy file" in refused(read, path)
    assert refused(lambda path: open_array(path, np.uint8, (20, 4, 4, 1)), path).endswith(
        "delete it"
    )
    path = archive(tmp_path / "images.npz", damage, arr_0=IMAGES)
    assert "arr_0 has a damaged header" in refused(open_source, path)
    path = archive(tmp_path / "stats.npz", damage, mu=IMAGES, sigma=IMAGES)
    assert "statistics are an .npz file with mu and sigma" in refused(read_statistics, path)


def other_files(folder: Path) -> list[Path]:
    """Files of other kinds under the names of arrays."""
    contents = {"text": b"hello", "empty": b"", "list": pickle.dumps([1]), "zip": b"PK\x03\x04"}
    paths = [folder / f"{name}.{suffix}" for name in contents for suffix in ("npy", "npz")]
    for path in paths:
        path.write_bytes(contents[path.stem])
    np.save(folder / "objects.npy", np.array([None]), allow_pickle=True)
    np.savez(folder / "objects.npz", mu=np.array([None]), sigma=np.eye(1), arr_0=np.array([None]))
    return [*paths, folder / "objects.npy", folder / "objects.npz"]


def test_other_files_are_named(tmp_path: Path) -> None:
    for path in other_files(tmp_path):
        refused(read_statistics, path)
        refused(read_npy, path)
        refused(read_labels, path)
        if path.suffix == ".npy":
            refused(READERS[".npy"], path)
        refused(open_source, path)


def test_one_array_is_no_file_of_statistics(tmp_path: Path) -> None:
    np.save(tmp_path / "mu.npy", STATISTICS.mu)
    message = refused(read_statistics, tmp_path / "mu.npy")
    assert "mu.npy is an .npy file of one array; statistics are an .npz file with mu" in message
    np.savez(tmp_path / "labels.npz", labels=np.arange(3))
    assert "labels.npz is an archive (.npz), not an .npy" in refused(
        read_labels, tmp_path / "labels.npz"
    )


@pytest.mark.parametrize(
    "kind", ["float16", "longdouble", "int64", "bool", "complex128", "U3", "S3"]
)
def test_statistics_must_be_real_numbers_of_enough_digits(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    for name in ("mu", "sigma"):
        arrays = {"mu": STATISTICS.mu, "sigma": STATISTICS.sigma}
        np.savez(path, **arrays | {name: arrays[name].astype(kind)})
        message = refused(read_statistics, path)
        assert f"{name} is of type" in message and "must be float32 or float64" in message


@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f8"])
def test_statistics_of_enough_digits_are_read(kind: type, tmp_path: Path) -> None:
    found = {"mu": STATISTICS.mu.astype(kind), "sigma": STATISTICS.sigma.astype(kind)}
    np.savez(tmp_path / "stats.npz", **found)
    read = read_statistics(tmp_path / "stats.npz")
    assert {name: array.dtype for name, array in read.items()} == dict.fromkeys(found, np.float64)
    np.testing.assert_array_equal(read["sigma"], found["sigma"])


@pytest.mark.parametrize("shapes", [((), (4, 4)), ((0,), (0, 0)), ((4,), (4,)), ((2, 2), (4, 4))])
def test_statistics_of_other_shapes_are_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], tmp_path: Path
) -> None:
    np.savez(tmp_path / "stats.npz", mu=np.ones(shapes[0]), sigma=np.ones(shapes[1]))
    assert "do not fit; expected (d,) and (d, d)" in refused(
        read_statistics, tmp_path / "stats.npz"
    )


def test_names_in_an_archive_are_cut(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", **{f"array{index}": np.ones(1) for index in range(300)})
    for read in (read_statistics, open_source):
        message = refused(read, tmp_path / "many.npz")
        assert message.endswith("and 288 more") and len(message) < 400


@pytest.mark.parametrize("count", [10, 40, 2**40])
def test_a_header_of_fewer_or_more_images_than_there_are_is_refused(
    count: int, tmp_path: Path
) -> None:
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, 4, 4, 1)}
    np.lib.format.write_array_header_1_0(stream, header)
    data, path = stream.getvalue() + IMAGES.tobytes(), tmp_path / "a.npy"
    path.write_bytes(data)
    for read in (read_npy, lambda path: read_npy(path, mapped=True), open_source, read_labels):
        message = refused(read, path)
        assert f"shape ({count}, 4, 4, 1), {count * 16:,} bytes, where 320 are there" in message
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("arr_0.npy", data)
    assert "a.npz: arr_0 has a header that tells of" in refused(open_source, tmp_path / "a.npz")


def test_arrays_that_an_archive_holds_twice_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, IMAGES)
    for first, second in (("arr_0.npy", "arr_0.npy"), ("arr_0", "arr_0.npy")):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
            made.writestr(first, stream.getvalue())
            with warnings.catch_warnings(action="ignore"):
                made.writestr(second, stream.getvalue())
        assert "it holds arr_0 2 times" in refused(open_source, tmp_path / "a.npz")
        assert "it holds arr_0 2 times" in refused(
            lambda path: read_npz(path, ("arr_0",)), tmp_path / "a.npz"
        )


def test_a_member_without_an_ending_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, IMAGES)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
        made.writestr("arr_0", stream.getvalue())
    with np.load(tmp_path / "a.npz") as arrays:
        wanted = arrays["arr_0"]
    found = np.concatenate(list(open_source(tmp_path / "a.npz").batches(7)))
    np.testing.assert_array_equal(found, wanted)


def test_files_of_objects_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([None]), allow_pickle=True)
    for read in (read_npy, open_source, read_labels):
        assert refused(read, path).endswith(
            "holds Python objects, which are not read; save plain numbers"
        )


def test_labels_beyond_all_numbers_are_named_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, np.array([0, 2**63 + 5], np.uint64))
    assert f"holds {2**63 + 5}; labels are numbers of classes" in refused(read_labels, path)
    np.save(path, np.array([0, 5], np.uint64))
    assert read_labels(path).tolist() == [0, 5]


@pytest.mark.parametrize("shape", [(), (20,), (4, 4), (20, 4, 4)])
def test_what_are_no_images_is_named(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.zeros(shape, np.uint8)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", arr_0=array)

    def check(path: Path) -> None:
        check_images(open_source(path), None, evaluation(), NUM_CLASSES)

    for name in ("a.npy", "a.npz"):
        message = refused(check, tmp_path / name)
        assert message.endswith(f"images must have shape (N, H, W, C), got {shape}")


def test_only_wanted_arrays_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", mu=np.ones(2), others=np.array([None]))
    found, names = read_npz(tmp_path / "a.npz", ("mu", "sigma"))
    assert list(found) == ["mu"] and names == ["mu", "others"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b""])
def test_json_that_cannot_be_read_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(content)
    assert "index.json is not valid JSON" in refused(read_json, tmp_path / "index.json")
