"""Emoji from a small package made here: captions, pictures over white, held-out captions, npm."""

import gzip
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captioned_data import config, run, texts, workspace, write, write_tar
from command import ROOT
from nextbasis.config import DatasetConfig
from nextbasis.sources import emoji
from nextbasis.sources import readers as sources
from nextbasis.sources.archives import FOLDER_VARIABLE
from nextbasis.support.yamls import read_keys

__all__ = ["workspace"]  # a fixture that every test here uses
LOCATION = "emoji-datasource-google@1.0.0"
ARCHIVE = "emoji-datasource-google-1.0.0.tgz"
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
CAPTIONS = [
    *("waving hand", *(f"waving hand: {tone} skin tone" for tone in TONES)),
    *("couple", "couple: light and dark skin tone", "são tomé flag", "box", "box"),
]


def emoji_config(**changes: Any) -> DatasetConfig:
    return config("npm", LOCATION, **{"image_size": 64, "num_test": 3} | changes)


def entry(name: str, image: str, **variants: str) -> dict[str, Any]:
    drawn = {"image": f"{image}.png", "has_img_google": True}
    skins = {
        key.replace("_", "-"): {"image": f"{each}.png", "has_img_google": each != "none"}
        for key, each in variants.items()
    }
    return {"name": name, "has_img_apple": True} | drawn | {"skin_variations": skins}


def names() -> list[dict[str, Any]]:
    skins = {f"1F3F{key}": str(number) for number, key in enumerate("BCDEF", 1)}
    found = [
        entry("WAVING HAND", "0", **skins),
        entry("COUPLE", "6", **{"1F3FB_1F3FF": "7", "1F3FF_1F3FB": "none"}),
        entry("São Tomé Flag", "8"),
        entry("BOX", "9"),
        entry("BOX", "10"),
        entry("NEVER DRAWN", "none") | {"has_img_google": False},
    ]
    del found[-1]["skin_variations"]
    return found


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (64, 64, 4), dtype=np.uint8)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def package(**changes: bytes) -> dict[str, bytes]:
    """Files of the package; picture 8 is grey with opacity, 9 has a palette."""
    files = {
        f"img/google/64/{number}.png": png(Image.fromarray(pixels(number))) for number in range(11)
    }
    files["img/google/64/8.png"] = png(Image.fromarray(pixels(8)[..., 2:]))
    files["img/google/64/9.png"] = png(Image.fromarray(pixels(9)[..., :3]).quantize(7))
    files["img/google/sheets/64.png"] = b"large"
    return files | {"emoji.json": json.dumps(names()).encode()} | changes


def pack(path: Path, files: dict[str, bytes]) -> None:
    write_tar(path, {f"package/{name}": data for name, data in files.items()}, "w:gz")


def expected(number: int) -> np.ndarray:
    """Over white in floating point."""
    image = pixels(number).astype(float)
    if number == 8:
        image = np.dstack([image[..., 2]] * 3 + [image[..., 3]])
    if number == 9:
        palette = Image.fromarray(pixels(9)[..., :3]).quantize(7).convert("RGB")
        return np.asarray(palette)
    opacity = image[..., 3:] / 255
    return np.round(image[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)


def held_out(count: int) -> set[str]:
    ranked = sorted({hashlib.sha256(text.encode()).hexdigest(): text for text in CAPTIONS}.items())
    return {text for _, text in ranked[:count]}


def check() -> None:
    data = run(emoji_config())
    test = held_out(3)
    train = [(text, n) for n, text in enumerate(CAPTIONS) if text not in test]
    rest = [(text, n) for n, text in enumerate(CAPTIONS) if text in test]
    assert texts(data, "train") == [text for text, _ in train]
    assert texts(data, "test") == [text for text, _ in rest]
    assert data.num_classes == len(set(CAPTIONS)) == 10
    for images, part in ((data.train_images, train), (data.test_images, rest)):
        np.testing.assert_array_equal(images, [expected(number) for _, number in part])


def test_names_and_pictures_from_the_users_archive_or_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    pack(tmp_path / "own" / ARCHIVE, package())
    check()
    shutil.rmtree(tmp_path / "own")
    for name, data in package().items():
        write(tmp_path / "own" / name, data)
    check()


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    write(folder / "npm", f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_npm_packs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "served.tgz", package())
    script = f'[ "$3 $4" = "pack {LOCATION}" ] && cp {tmp_path}/served.tgz {ARCHIVE}'
    fake_npm(tmp_path / "tools", monkeypatch, script)
    check()
    assert [path.name for path in Path("data/toy").iterdir()] == [ARCHIVE]
    fake_npm(tmp_path / "tools", monkeypatch, "exit 1")
    check()


def test_a_failed_download_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"echo 'npm error code ENOTFOUND' >&2; echo 'a log' >&2; echo half > {ARCHIVE}; exit 1"
    fake_npm(tmp_path / "tools", monkeypatch, script)
    with pytest.raises(FileNotFoundError, match="npm failed with status 1: npm error code ENOTF"):
        sources.load(emoji_config())
    assert list(Path("data/toy").iterdir()) == []
    fake_npm(tmp_path / "tools", monkeypatch, "exit 0")
    with pytest.raises(FileNotFoundError, match=f"'npm pack {LOCATION}' made no file {ARCHIVE}"):
        sources.load(emoji_config())
    monkeypatch.setattr(emoji.shutil, "which", lambda tool: None)
    with pytest.raises(FileNotFoundError, match=f"npm is not installed; it would .* {LOCATION}"):
        sources.load(emoji_config())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img/google/64/3.png": b"none"}, "img/google/64/3.png is not a readable image"),
        (
            {"img/google/64/3.png": png(Image.new("RGBA", (32, 64)))},
            r"64/3.png is \(64, 32\), expected 64x64 pixels",
        ),
        ({"emoji.json": b"{"}, "emoji.json is not a list of emoji .*JSONDecodeError"),
        ({"emoji.json": b'[{"name": "A"}]'}, "emoji.json is not a list of emoji .*KeyError"),
        ({"emoji.json": b"[]"}, "emoji.json lists no emoji"),
    ],
)
def test_wrong_files_of_the_package_are_named(changes: dict[str, bytes], message: str) -> None:
    pack(Path("data/toy") / ARCHIVE, package(**changes))
    with pytest.raises(FileNotFoundError, match=message):
        sources.load(emoji_config())


@pytest.mark.parametrize("name", ["emoji.json", "img/google/64/10.png"])
def test_missing_files_of_the_package_are_named(name: str) -> None:
    files = package()
    files.pop(name)
    pack(Path("data/toy") / ARCHIVE, files)
    with pytest.raises(FileNotFoundError, match=f"{ARCHIVE} holds no file {name}"):
        sources.load(emoji_config())
    Path("data/toy", ARCHIVE).unlink()
    for each, data in package().items():
        write(Path("data/toy") / each, data)
    Path("data/toy/img/google/64/10.png").unlink()
    with pytest.raises(FileNotFoundError, match="no file data/toy/img/google/64/10.png, which em"):
        sources.load(emoji_config())


@pytest.mark.parametrize("damaged", [b"no archive", gzip.compress(b"no tar", mtime=0), None])
def test_damaged_archives_are_named(damaged: bytes | None) -> None:
    path = Path("data/toy") / ARCHIVE
    pack(path, package())
    path.write_bytes(path.read_bytes()[:9000] if damaged is None else damaged)
    with pytest.raises(FileNotFoundError, match=f"{ARCHIVE} is not a complete .tgz file.*delete"):
        sources.load(emoji_config())


@pytest.mark.parametrize("what", ["images", "captions"])
def test_another_versions_content_is_refused(what: str) -> None:
    pack(Path("data/toy") / ARCHIVE, package())
    pictures = np.stack([expected(number) for number in range(11)])
    right = {
        "images": hashlib.sha256(pictures.tobytes()).hexdigest(),
        "captions": hashlib.sha256("\n".join(CAPTIONS).encode()).hexdigest(),
    }
    sources.load(emoji_config(checksums=right))
    with pytest.raises(FileNotFoundError, match=f"{LOCATION} {what} has SHA-256 .* expected 00"):
        sources.load(emoji_config(checksums=right | {what: "0" * 64}))


@pytest.mark.parametrize("count", [0, 10])
def test_some_captions_must_be_held_out_but_not_all(count: int) -> None:
    pack(Path("data/toy") / ARCHIVE, package())
    with pytest.raises(FileNotFoundError, match=rf"num_test must lie in \[1, 9\].*got {count}"):
        sources.load(emoji_config(num_test=count))


def test_other_packages_are_refused() -> None:
    with pytest.raises(FileNotFoundError, match="must be emoji-datasource-google@<version>.*'x@1'"):
        sources.load(config("npm", "x@1"))


def test_smaller_and_grey_pictures_are_made_of_the_same_ones() -> None:
    pack(Path("data/toy") / ARCHIVE, package())
    data = run(emoji_config(image_size=32, channels=1))
    grey = np.asarray(Image.fromarray(expected(0)).convert("L"), float)
    mean = grey.reshape(32, 2, 32, 2).mean((1, 3))
    first = data.train_images[texts(data, "train").index("waving hand"), ..., 0]
    assert np.abs(first - mean).max() <= 1


def test_twice_the_side_is_the_same_pictures_enlarged() -> None:
    small, large = (
        read_keys(ROOT / f"config/dataset/{name}.yaml") for name in ("emoji", "emoji128")
    )
    assert large == small | {"image_size": 2 * small["image_size"]}
    scores = [
        read_keys(ROOT / f"config/scales/{name}/evaluation.yaml") for name in ("emoji", "emoji128")
    ]
    assert scores[0] == scores[1]
