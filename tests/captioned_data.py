"""Small captioned datasets in every form that is read."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from nextbasis.config import DatasetConfig, DatasetStage, SourceConfig
from nextbasis.data.arrays import Dataset
from nextbasis.sources.archives import FOLDER_VARIABLE
from nextbasis.sources.images import load_photo
from nextbasis.sources.splits import Splits, captioned
from nextbasis.stages import dataset as stage

FOLDER = Path("results/toy/dataset")
ROOT = Path(__file__).parents[1]
PHOTOS = "data/journeydb/train/lines.jsonl data/coco/annotations/captions_val.json"
TARS = "shards/train-*.tar shards/val-*.tar"
PARQUET = "hub/train-*.parquet hub/validation-*.parquet"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return tmp_path


def config(kind: str, location: str, **changes: Any) -> DatasetConfig:
    values: dict[str, Any] = {"name": "toy", "image_size": 8, "channels": 3, "num_classes": 0}
    values |= {"sources": [SourceConfig(kind=kind, location=location)], "num_test": 0}
    return DatasetConfig(**values | {"checksums": {}} | changes)


def run(data: DatasetConfig) -> Dataset:
    stage.main(DatasetStage(reproducible=True, scale="toy", key="", dataset=data))
    return Dataset(FOLDER)


def picture(number: int) -> bytes:
    """A PNG; no two numbers have the same size."""
    pixels = np.random.default_rng(number).integers(0, 256, (9 + number, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def expected(number: int) -> np.ndarray:
    return load_photo(io.BytesIO(picture(number)), 8, 3)


def write(path: str | Path, data: bytes | str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data.encode() if isinstance(data, str) else data)


def write_tar(path: str | Path, files: dict[str, bytes], mode: Any = "w") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def texts(data: Dataset, split: str) -> list[str]:
    return [data.captions[label] for label in getattr(data, f"{split}_labels")]


def no_images(part: slice) -> Any:
    return iter(())


def splits_of(train: list[str], test: list[str]) -> Splits:
    return captioned({"train": train, "test": test}, {"train": no_images, "test": no_images})


WORDS = st.lists(st.sampled_from(["a", "b c", "d", "e", "b  c\n"]), min_size=1)
