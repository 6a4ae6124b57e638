"""What image files hold, against pixels written by hand."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_bytes import png, tiff
from nextbasis.data.image_files import image_header, read_image
from nextbasis.sources.images import load_photo

RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.png", {}),
        ("a.tif", {}),
        ("b.tif", {"compression": "tiff_lzw"}),
        ("c.tif", {"big_tiff": True}),
        ("a.pgm", {}),
        ("a.jp2", {"irreversible": False}),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_16_bit_grey_keeps_its_range(name: str, how: dict, mode: str, tmp_path: Path) -> None:
    """255 times 257 is 65535: both whites are the same, and so is every level between."""
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / name, **how)
    found = np.asarray(read_image(tmp_path / name, mode))
    expected = RAMP if mode == "L" else np.stack([RAMP] * 3, 2)
    np.testing.assert_array_equal(found, expected)
    assert image_header(tmp_path / name).bits == 16


def test_16_bit_grey_is_rounded_to_the_nearest_level(tmp_path: Path) -> None:
    levels = np.array([[0, 128, 129, 300, 385, 386, 32767, 32768, 65406, 65407]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    found = np.asarray(read_image(tmp_path / "a.png", "L"))
    np.testing.assert_array_equal(found, np.round(levels / 257))


def test_big_endian_16_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    pixels = (RAMP.astype(np.uint16) * 257).astype(">u2").tobytes()
    (tmp_path / "a.tif").write_bytes(tiff(">", 16, 256, pixels))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.tif", "L")), RAMP)


def test_16_bit_colours_are_told_and_keep_their_range(tmp_path: Path) -> None:
    colours = np.array([[[10, 20, 30], [255, 0, 128]]])
    (tmp_path / "a.png").write_bytes(png(16, 257 * colours))
    assert (image_header(tmp_path / "a.png").mode, image_header(tmp_path / "a.png").bits) == (
        "RGB",
        16,
    )
    found = np.asarray(read_image(tmp_path / "a.png", "RGB"))
    np.testing.assert_array_equal(found, colours)


@pytest.mark.parametrize(
    ("mode", "format", "bits"), [("RGB", "PNG", 8), ("L", "PNG", 8), ("RGB", "JPEG", 8)]
)
def test_headers_tell_what_was_written(mode: str, format: str, bits: int, tmp_path: Path) -> None:
    Image.new(mode, (7, 5)).save(tmp_path / "misleading.bmp", format)
    found = image_header(tmp_path / "misleading.bmp")
    assert (found.format, found.mode, found.height, found.width) == (format, mode, 5, 7)
    assert found.bits == bits and not found.is_transparent


def test_jpeg_inside_tiff_and_transparent_colours_are_told(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16))
    image.save(tmp_path / "a.tif", compression="jpeg")
    assert image_header(tmp_path / "a.tif").format == "JPEG"
    image.save(tmp_path / "a.png", transparency=(0, 0, 0))
    assert image_header(tmp_path / "a.png").is_transparent


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.int32), np.zeros((4, 4), np.float32)])
def test_numbers_whose_white_is_unknown_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(array).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif .*32 bits, and it is not known which one is white"):
        load_photo(tmp_path / "a.tif", 4, 1)


def test_inverted_and_12_bit_grey_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with pytest.raises(ValueError, match="a.tif .*inverted, 0 being white"):
        load_photo(tmp_path / "a.tif", 4, 1)
    (tmp_path / "b.tif").write_bytes(tiff("<", 12, 256, bytes(RAMP.size * 3 // 2)))
    with pytest.raises(ValueError, match="b.tif .*its pixels have 12 bits"):
        load_photo(tmp_path / "b.tif", 4, 1)


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_files_of_several_images_are_refused(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=f"{name} .*it holds 3 images"):
        load_photo(tmp_path / name, 8, 3)


def test_a_photograph_with_a_preview_is_the_photograph(tmp_path: Path) -> None:
    photo, preview = (Image.new("RGB", (size, size), "white") for size in (32, 8))
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    found = image_header(tmp_path / "a.jpg")
    assert (found.format, found.width) == ("MPO", 32)
    assert load_photo(tmp_path / "a.jpg", 8, 3).mean() == 255


@pytest.mark.parametrize("cut", [0, 1, 10, 60, 400])
def test_damaged_files_are_named(cut: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(whole, "PNG")
    (tmp_path / "a.png").write_bytes(whole.getvalue()[:cut])
    with pytest.raises(ValueError, match="a.png is not a readable image"):
        load_photo(tmp_path / "a.png", 8, 3)


def test_every_cut_of_a_jpeg_2000_is_refused(tmp_path: Path) -> None:
    """Pillow makes a picture of what is left of some."""
    Image.fromarray(np.tile(RAMP, (16, 1))).save(tmp_path / "a.jp2")
    whole = (tmp_path / "a.jp2").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "a.jp2").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="a.jp2 is not a readable image"):
            read_image(tmp_path / "a.jp2", "L")


def test_a_jpeg_2000_may_tell_its_length_in_other_ways_and_go_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    Image.fromarray(RAMP).save(path, irreversible=False)
    whole = path.read_bytes()
    start = whole.index(b"jp2c") - 4
    picture = whole[start + 8 :]
    long = struct.pack(">I4sQ", 1, b"jp2c", 16 + len(picture)) + picture
    open_end = struct.pack(">I4s", 0, b"jp2c") + picture
    further = whole[start:] + struct.pack(">I4s", 12, b"xml ") + b"<a/>"
    for box in (long, open_end, further, whole[start:] + b"anything"):
        path.write_bytes(whole[:start] + box)
        np.testing.assert_array_equal(np.asarray(read_image(path, "L")), RAMP)
    path.write_bytes(whole[:start] + long[:-1])
    with pytest.raises(ValueError, match="a.jp2 .*it ends inside its picture"):
        image_header(path)
    path.write_bytes(picture)  # no boxes at all
    np.testing.assert_array_equal(np.asarray(read_image(path, "L")), RAMP)


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "JPEG2000", "JPEG", "PNG", "GIF", "TIFF", "BMP"])
def test_an_image_with_a_changed_byte_is_read_or_named(kind: str, tmp_path: Path) -> None:
    """AVIF's decoder raises what others do not."""
    path = tmp_path / "a.image"
    Image.fromarray(np.stack([np.tile(RAMP, (16, 1))[:, :64]] * 3, 2)).save(path, kind)
    whole = path.read_bytes()
    for place in range(len(whole) // 4, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[place] ^= 64
        path.write_bytes(damaged)
        try:
            read_image(path, "RGB")
        except ValueError as error:
            assert str(error).startswith(f"{path} is not a readable image")


def test_enormous_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1, np.zeros((1, 1)), 200_000_000))
    with pytest.raises(ValueError, match="a.png is not a readable image .*exceeds limit"):
        image_header(tmp_path / "a.png")


def test_postscript_starts_no_program(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png is not a readable image .*cannot identify"):
        load_photo(tmp_path / "a.png", 8, 1)
