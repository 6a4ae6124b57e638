"""Which files of folders are read, in which order: against names and numbers written by hand."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nextbasis.data.image_folders import list_folders, list_images
from nextbasis.support.files import natural_order


def save(path: Path, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path, **how)
    return path


def names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in list_images(folder).files]


def test_numbers_in_names_sort_as_numbers(tmp_path: Path) -> None:
    numbers = list(range(120))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        (tmp_path / f"{number}.png").touch()
    assert names(tmp_path) == [f"{number}.png" for number in range(120)]


@given(
    numbers=st.lists(st.integers(0, 10**30), unique=True), prefix=st.text("aZ-._ /9", max_size=3)
)
def test_natural_order_is_that_of_the_numbers(numbers: list[int], prefix: str) -> None:
    found = sorted((f"{prefix}_{number}.png" for number in numbers), key=natural_order)
    assert found == [f"{prefix}_{number}.png" for number in sorted(numbers)]


@given(st.lists(st.tuples(st.text("aB._- é", max_size=3), st.integers(0, 999), st.text("aB.-"))))
def test_where_numbers_have_equally_many_digits_the_order_is_that_of_strings(
    parts: list[tuple[str, int, str]],
) -> None:
    padded = [f"{before}{number:03}{after}" for before, number, after in parts]
    assert sorted(padded, key=natural_order) == sorted(padded)


@pytest.mark.parametrize(
    "ordered",
    [
        ["img.png", "img1.png", "img2.png", "img10.png"],
        ["a1b2.png", "a1b10.png", "a2b1.png", "a10b1.png"],
        ["01.png", "1.png", "002.png"],
        ["B.png", "a.png", "ä.png"],
        ["n02/9.png", "n02/10.png", "n10/1.png"],
        ["9/b.png", "10/a.png", "10.png"],
    ],
)
def test_order_by_hand(ordered: list[str]) -> None:
    assert sorted(reversed(ordered), key=natural_order) == ordered


def test_every_spelling_of_an_ending_is_read(tmp_path: Path) -> None:
    for ending, kind in (
        *(("png", "PNG"), ("PNG", "PNG"), ("jpg", "JPEG"), ("Jpeg", "JPEG"), ("jfif", "JPEG")),
        *(("JPE", "JPEG"), ("bmp", "BMP"), ("gif", "GIF"), ("tif", "TIFF"), ("TIFF", "TIFF")),
        *(("webp", "WEBP"), ("avif", "AVIF"), ("pgm", "PPM"), ("tga", "TGA"), ("jp2", "JPEG2000")),
    ):
        save(tmp_path / f"x.{ending}", format=kind)
    assert len(names(tmp_path)) == 15
    assert list_images(tmp_path).remark() == ""


def test_what_looks_like_an_image_and_is_not_read_is_counted_and_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "labels.npy").write_bytes(b"\x93NUMPY")
    for path in ("0001", "sub/b.png.1", ".hidden.png", ".cache/c.png", "__MACOSX/._a.png"):
        save(tmp_path / path, format="PNG")
    (tmp_path / "phone.HEIC").write_bytes(b"anything")
    (tmp_path / "drawing.psd").touch()
    listing = list_images(tmp_path)
    assert [path.name for path in listing.files] == ["a.png"]
    left_out = [".cache/c.png", ".hidden.png", "0001", "__MACOSX/._a.png", "drawing.psd"]
    left_out += ["phone.HEIC", "sub/b.png.1"]
    assert [str(path.relative_to(tmp_path)) for path in listing.left_out] == left_out
    assert listing.remark() == (
        f"files that look like images and are not read: 7 ({', '.join(left_out)})"
    )


@pytest.mark.parametrize(
    "ending", "pbm j2k jpx jpf ico dib pcx hdr PBM Ico apng exr jxl svg cur".split()
)
def test_images_of_kinds_that_are_not_read_are_named(ending: str, tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / f"b.{ending}").write_bytes(b"anything")
    told = f"files that look like images and are not read: 1 (b.{ending})"
    assert names(tmp_path) == ["a.png"] and list_images(tmp_path).remark() == told


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "JPEG2000", "PPM"]
)
def test_images_without_an_ending_are_named(kind: str, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "b", kind)
    assert list_images(tmp_path).remark().endswith("not read: 1 (b)")


def test_texts_and_numbers_are_no_images(tmp_path: Path) -> None:
    for name, start in (("a", b"BM says"), ("b", b"P2P"), ("c", b"#?"), ("d", bytes(12))):
        (tmp_path / name).write_bytes(start * 3)
    assert list_images(tmp_path).remark() == ""


def test_a_folder_that_is_read_twice_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a/inner/1.png")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/10").symlink_to("../a/inner")
    listing = list_images(tmp_path)
    assert names(tmp_path) == ["a/inner/1.png", "b/inner/1.png", "c/10/1.png"]
    told = "folders that are read more than once, by links: 2 (b is a, c/10 is a/inner)"
    assert listing.remark() == told
    (tmp_path / "c/10").unlink()
    (tmp_path / "b").unlink()
    (tmp_path / "b").symlink_to(".")  # leads no further
    assert list_images(tmp_path).remark() == ""


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    save(tmp_path / "store/1.png")
    save(tmp_path / "all/0.png")
    (tmp_path / "all/linked").symlink_to("../store")
    (tmp_path / "all/2.png").symlink_to("../store/1.png")
    (tmp_path / "store/loop").symlink_to("../all")
    (tmp_path / "all/here").symlink_to(".")
    assert names(tmp_path / "all") == ["0.png", "2.png", "linked/1.png"]


@pytest.mark.parametrize("name", ["n2", "1.png"])
def test_a_link_that_leads_nowhere_is_named(name: str, tmp_path: Path) -> None:
    save(tmp_path / "0.png")
    (tmp_path / name).symlink_to("gone")
    with pytest.raises(FileNotFoundError, match=f"{name} is a link that leads nowhere"):
        list_images(tmp_path)


def test_folders_of_systems_are_no_classes(tmp_path: Path) -> None:
    for name in ("10", "2", "lost+found", "@eaDir", "__MACOSX", ".ipynb_checkpoints", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked").symlink_to("2")
    (tmp_path / "file").touch()
    assert list_folders(tmp_path) == ["2", "10", "linked"]


def test_a_folder_whose_name_is_no_utf8_is_refused(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/n2\xe9")
    with pytest.raises(ValueError, match=r"the folder name 'n2\\udce9' is not UTF-8"):
        list_folders(tmp_path)


def test_pipes_are_not_waited_for_and_named(tmp_path: Path) -> None:
    for name in ("0.png", "1.HEIC", "2.txt"):
        os.mkfifo(tmp_path / name)
    assert names(tmp_path) == []
    assert list_images(tmp_path).remark().endswith("are not read: 2 (0.png, 1.HEIC)")
