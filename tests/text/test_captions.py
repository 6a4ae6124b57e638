"""Captioned datasets: what a label means, and where captions come from; what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from captioned_data import (
    FOLDER,
    PARQUET,
    PHOTOS,
    ROOT,
    TARS,
    WORDS,
    config,
    expected,
    picture,
    run,
    splits_of,
    texts,
    workspace,
    write,
    write_tar,
)
from nextbasis.config import compose
from nextbasis.data.arrays import Dataset
from nextbasis.sources import readers as sources
from nextbasis.sources.archives import FOLDER_VARIABLE
from nextbasis.sources.splits import Split
from nextbasis.stages import dataset as stage

__all__ = ["workspace"]  # a fixture


@given(train=WORDS, test=WORDS)
def test_a_label_is_the_position_of_its_caption_in_order_of_appearance(
    train: list[str], test: list[str]
) -> None:
    splits = splits_of(train, test)
    together = [" ".join(text.split()) for text in [*train, *test]]
    captions = splits["train"].captions
    assert captions == splits["test"].captions == list(dict.fromkeys(together))
    labels = np.concatenate([splits["train"].labels, splits["test"].labels])
    assert labels.dtype == np.int64 and [captions[label] for label in labels] == together


def test_a_split_without_captions_is_named() -> None:
    with pytest.raises(ValueError, match="the split test holds no image with a caption"):
        splits_of(["a"], [])


@pytest.mark.parametrize(("name", "first"), [("digits", "zero"), ("fashion_mnist", "t-shirt")])
def test_configured_classes_have_names(name: str, first: str) -> None:
    data = compose("dataset", [f"dataset={name}", "scale=toy", "key=''"], ROOT / "config").dataset
    assert len(data.captions) == data.num_classes == 10 and data.captions[0] == first


def test_captioned_datasets_are_configured() -> None:
    for name in ("emoji", "t2i"):
        arguments = [f"dataset={name}", "scale=toy", "key=''"]
        data = compose("dataset", arguments, ROOT / "config").dataset
        assert data.num_classes == 0 and data.captions == []


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("sklearn", {}, "num_classes must be above 0.*got 0 for a source of kind sklearn"),
        ("npm", {"num_classes": 3}, "as in npm, journeydb; got 3 for a source of kind npm"),
        ("webdataset", {"num_classes": -1}, "num_classes must be above 0.*got -1$"),
        ("local", {"num_classes": 2, "captions": ["a"]}, "dataset.captions .*says, 2; got 1"),
        ("webdataset", {"captions": ["a"]}, "dataset.captions .*says, 0; got 1"),
    ],
)
def test_configs_that_contradict_themselves_name_the_key(
    kind: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config(kind, "here", **changes)


def write_classes() -> None:
    for number, name in enumerate(("train/cat", "train/dog", "val/cat", "val/dog")):
        write(f"photos/{name}/0.png", picture(number))


def test_classes_are_called_as_configured_or_as_their_folders(monkeypatch: Any) -> None:
    write_classes()
    assert run(config("image_folder", "photos", num_classes=2)).captions == ["cat", "dog"]
    named = config("image_folder", "photos", num_classes=2, captions=["a cat", "a dog"])
    assert run(named).captions == ["a cat", "a dog"]
    split = Split(labels=np.arange(2), images=lambda part: iter([expected(0), expected(1)]))
    monkeypatch.setattr(stage, "load", lambda data: ({"train": split, "test": split}, ""))
    assert run(config("local", "here", num_classes=2)).captions == ["class 0", "class 1"]


def test_missing_and_changed_captions_are_named_when_asked_for() -> None:
    write_classes()
    run(config("image_folder", "photos", num_classes=2))
    path = FOLDER / "captions.json"
    whole = path.read_bytes()
    path.write_text('["cat", "dig"]')
    with pytest.raises(ValueError, match="captions.json has SHA-256 .* expected"):
        len(Dataset(FOLDER).captions)
    path.write_bytes(whole)
    index = json.loads((FOLDER / "index.json").read_text())
    assert index["num_classes"] == 2 and "captions.json" in index["sha256"]
    path.unlink()
    data = Dataset(FOLDER)
    with pytest.raises(FileNotFoundError, match=f"no file {path}; run the stage"):
        len(data.captions)


def test_journeydb_trains_on_captions_and_coco_tests() -> None:
    lines: list[dict[str, Any]] = [
        {"img_path": "./000/a.png", "prompt": "a cat --ar 2", "Task2": {"Caption": "A cat."}},
        {"img_path": "./001/b.png", "prompt": "a dog", "Task2": {"Caption": ""}},
        {"img_path": "./000/c.png", "prompt": "a  cow\n", "Task1": {}},
        {"img_path": "./000/d.png", "prompt": "x", "Task2": {"Caption": "A cat."}},
    ]
    write("data/journeydb/train/lines.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    for number, name in enumerate(("000/a", "001/b", "000/c", "000/d")):
        write(f"data/journeydb/train/imgs/{name}.png", picture(number))
    write_coco()
    data = run(config("journeydb", PHOTOS))
    assert texts(data, "train") == ["A cat.", "a dog", "a cow", "A cat."]
    assert texts(data, "test") == ["seven", "a dog"] and data.num_classes == 4
    np.testing.assert_array_equal(data.train_images, [expected(number) for number in range(4)])
    np.testing.assert_array_equal(data.test_images, [expected(7), expected(30)])


def write_coco() -> dict[str, Any]:
    """Image 30 has two captions, the first of which comes last in the file."""
    notes = [(9, 30, "later"), (5, 7, "seven"), (2, 30, "a dog")]
    table: dict[str, Any] = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in (30, 7, 8)],
        "annotations": [
            {"id": note, "image_id": image, "caption": text} for note, image, text in notes
        ],
    }
    write("data/coco/annotations/captions_val.json", json.dumps(table))
    for number in (7, 30):
        write(f"data/coco/val/{number}.png", picture(number))
    return table


def refused_coco(table: dict[str, Any]) -> str:
    write("data/coco/annotations/captions_val.json", json.dumps(table))
    write("data/journeydb/train/lines.jsonl", '{"img_path": "a.png", "prompt": "a"}')
    write("data/journeydb/train/imgs/a.png", picture(0))
    with pytest.raises(FileNotFoundError) as error:
        sources.load(config("journeydb", PHOTOS))
    return str(error.value)


def test_one_folder_can_hold_both_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_coco()
    write("own/captions_val.json", Path("data/coco/annotations/captions_val.json").read_bytes())
    Path("data/coco/val").rename("own/val")
    write("own/lines.jsonl", '{"img_path": "000/a.png", "prompt": "a cat"}')
    write("own/imgs/000/a.png", picture(0))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    data = run(config("journeydb", PHOTOS))
    assert texts(data, "train") == ["a cat"] and len(data.test_labels) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"img_path": "000/a.png", "prompt": "a"}', "1 of the 1 images of .*, first .*000/a.png"),
        ('{"img_path": "000/a.png"}', r"lines.jsonl: line 1 has no img_path .*KeyError\('prompt'"),
        ('{"img_path": "a", "prompt": 3}', r"lines.jsonl: line 1 .*3 is no text"),
        ('{"prompt": "a"}', r"lines.jsonl: line 1 .*KeyError\('img_path'"),
        ("[", "lines.jsonl: line 1 is not JSON in UTF-8"),
        ("", "the split train holds no image with a caption"),
    ],
)
def test_wrong_lines_and_missing_images_are_named(line: str, message: str) -> None:
    write_coco()
    write("data/journeydb/train/lines.jsonl", line + "\n")
    with pytest.raises(FileNotFoundError, match=message):
        sources.load(config("journeydb", PHOTOS))


def test_other_tables_of_captions_are_refused() -> None:
    for name in ("a", "other"):
        write(f"{name}.json", "{}")
        write(f"captions_{name}.json", '{"images": []}')
    with pytest.raises(FileNotFoundError, match="a.json is neither JourneyDB's .* nor MS-COCO's"):
        sources.load(config("journeydb", "a.json other.json"))
    with pytest.raises(FileNotFoundError, match="captions_a.json is no file of MS-COCO's captions"):
        sources.load(config("journeydb", "captions_a.json captions_other.json"))


@pytest.mark.parametrize("caption", [None, 3, ["a"], {"a": 1}, True])
def test_a_caption_of_coco_that_is_no_text_is_shown(caption: Any) -> None:
    table = write_coco()
    table["annotations"][1]["caption"] = caption
    error = refused_coco(table)
    assert "captions_val.json is no file of MS-COCO's captions (TypeError" in error
    assert f"the caption {caption!r} is no text" in error


def test_images_of_coco_with_the_same_id_are_refused() -> None:
    table = write_coco()
    table["images"].append({"id": 30, "file_name": "7.png"})
    assert "captions_val.json holds several images of the same id: 30" in refused_coco(table)


@pytest.mark.parametrize("other", ["cafe\u0301", "café\u200b"])
def test_captions_that_look_alike_stay_apart_and_are_told(
    other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = splits_of(["café", "a", other], [other])
    assert splits["train"].labels.tolist() == [0, 1, 2] and splits["test"].labels.tolist() == [2]
    told = f"captions look alike and are classes of their own: {ascii('café')}, {ascii(other)}\n"
    assert told in capsys.readouterr().out


def test_empty_captions_are_a_class_and_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    splits = splits_of(["a", "", " \n"], ["a"])
    assert splits["train"].labels.tolist() == [0, 1, 1]
    assert capsys.readouterr().out == (
        "  2 captions of train images are empty, a class of their own\n"
    )


def test_lines_that_are_training_and_test_images_are_refused() -> None:
    write("lines.jsonl", '{"img_path": "a.png", "prompt": "a"}')
    write("imgs/a.png", picture(0))
    with pytest.raises(FileNotFoundError, match="but lines.jsonl is named for both"):
        sources.load(config("journeydb", "lines.jsonl *.jsonl"))


def test_shards_with_texts_beside_their_pictures() -> None:
    for shard, numbers in (("train-0", (0, 1)), ("train-1", (2,)), ("val-0", (3, 4))):
        files = {f"{number}.png": picture(number) for number in numbers}
        files |= {f"{number}.txt": f"größe {number // 2}\n".encode() for number in numbers}
        write_tar(f"shards/{shard}.tar", files | {f"{numbers[0]}.cls": b"no number"})
    data = run(config("webdataset", TARS))
    assert data.captions == ["größe 0", "größe 1", "größe 2"]
    assert data.train_labels.tolist() == [0, 0, 1] and data.test_labels.tolist() == [1, 2]
    np.testing.assert_array_equal(data.train_images[2], expected(2))
    write_tar("shards/val-0.tar", {"3.png": picture(3)})
    with pytest.raises(FileNotFoundError, match=r"val-0.tar: 3.png has no caption \(.txt\) beside"):
        sources.load(config("webdataset", TARS))
    write_tar("shards/val-0.tar", {"3.png": picture(3), "3.txt": b"\xff"})
    with pytest.raises(FileNotFoundError, match=r"3.txt holds b'\\xff', not text in UTF-8"):
        sources.load(config("webdataset", TARS))


def test_parquet_with_a_column_of_captions() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def save(split: str, numbers: list[int], captions: list[Any]) -> None:
        Path("hub").mkdir(exist_ok=True)
        table = {"image": [picture(number) for number in numbers], "caption": captions}
        parquet.write_table(pyarrow.table(table), f"hub/{split}-0.parquet", row_group_size=2)

    save("train", [0, 1, 2], ["b", "a", "b"])
    save("validation", [3, 4], ["c", "a"])
    data = run(config("parquet", PARQUET))
    assert data.captions == ["b", "a", "c"] and data.train_labels.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(data.train_images, [expected(number) for number in range(3)])
    save("train", [0, 1], ["b", None])
    with pytest.raises(FileNotFoundError, match="row 1 has the caption None, not text"):
        sources.load(config("parquet", PARQUET))
    with pytest.raises(FileNotFoundError, match="has no column label; it has image, caption"):
        sources.load(config("parquet", PARQUET, num_classes=3))
