"""Stage dataset: fetch images with labels or captions, verify them, write memory-mapped arrays."""

import shutil
from pathlib import Path

import numpy as np

from nextbasis.config import DatasetConfig, DatasetStage
from nextbasis.data.arrays import CAPTIONS, write_rows
from nextbasis.sources.readers import Split, load
from nextbasis.stages import run
from nextbasis.support.files import result_folder, sha256, staged_folder, write_json
from nextbasis.support.provenance import record


def main(config: DatasetStage) -> None:
    """Write results/<scale>/dataset."""
    data = config.dataset
    splits, _ = load(data)
    folder = result_folder(config.scale, "dataset", config.key)
    _check_space(data, splits, folder)
    with staged_folder(folder) as temporary:
        for name, split in splits.items():
            shape = (len(split.labels), data.image_size, data.image_size, data.channels)
            path = temporary / f"{name}_images.npy"
            write_rows(path, split.images(slice(None)), shape, np.uint8, f"{data.name} {name}")
            np.save(temporary / f"{name}_labels.npy", split.labels)
        captions = _captions(data, splits["train"])
        write_json(temporary / CAPTIONS, captions)
        files = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        index = _index(data, splits) | {"num_classes": len(captions), "sha256": files}
        write_json(temporary / "index.json", index)
        write_json(temporary / "metrics.json", record(config) | {"sha256": files})


def _captions(data: DatasetConfig, split: Split) -> list[str]:
    """What each label means: the source knows, or the config, or else it is just a class."""
    return split.captions or data.captions or [f"class {n}" for n in range(data.num_classes)]


def _index(data: DatasetConfig, splits: dict[str, Split]) -> dict[str, object]:
    """The index; `source` does not name the place that served the files.

    All places serve the same checksummed files, and the index decides what DVC remakes.
    """
    return {
        "name": data.name,
        "image_size": data.image_size,
        "channels": data.channels,
        "source": "checksums verified" if data.checksums else "the user's files",
        "num_train": len(splits["train"].labels),
        "num_test": len(splits["test"].labels),
    }


def _check_space(data: DatasetConfig, splits: dict[str, Split], folder: Path) -> None:
    images = sum(len(split.labels) for split in splits.values())
    needed = images * data.image_size**2 * data.channels
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise ValueError(
            f"dataset {data.name} needs {needed / 1e9:.1f} GB in {folder}, "
            f"but {free / 1e9:.1f} GB are free"
        )


if __name__ == "__main__":
    run("dataset", main, __doc__)
