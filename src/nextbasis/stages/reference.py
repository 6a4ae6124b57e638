"""Reference statistics of the training images, with a floor and a bad anchor for every score."""

from typing import Any

import numpy as np

from nextbasis.config import EvaluationConfig, ReferenceStage
from nextbasis.data.arrays import Dataset
from nextbasis.files import result_folder, staged_folder, write_json
from nextbasis.launch import run
from nextbasis.metrics.anchor import NAME, sample_anchor
from nextbasis.metrics.extractor import Extractor, load_extractor
from nextbasis.metrics.features import extract
from nextbasis.metrics.protocol import check_images
from nextbasis.metrics.reference import (
    Reference,
    choose_subset,
    load_reference,
    summarise,
    write_reference,
)
from nextbasis.metrics.rules import split
from nextbasis.metrics.score import measure
from nextbasis.provenance import device, record

ANCHOR_IMAGES = 10_000  # at most; fewer where the dataset has fewer test images


def main(config: ReferenceStage) -> None:
    """Write statistics.npz, index.json and metrics.json (floors) to results/<scale>/reference."""
    evaluation = config.evaluation
    data = Dataset(result_folder(config.scale, "dataset"))
    check_images(data.test_images, data.test_labels, evaluation, data.num_classes)
    subset = choose_subset(
        data.train_labels, data.num_classes, evaluation.num_reference, evaluation.seed
    )
    extractor = load_extractor(evaluation, device())
    with staged_folder(result_folder(config.scale, "reference")) as folder:
        statistics, spatial, features = summarise(
            data.train_images, subset, extractor, evaluation.batch_size
        )
        about = {
            "computed_on": f"{data.index['name']}, {len(data.train_images)} training images",
            "image_size": data.image_size,
            "channels": data.channels,
            "num_classes": data.num_classes,
        }
        write_reference(folder, statistics, features, spatial, evaluation, about)
        floors = measure_floors(data, load_reference(folder, evaluation), extractor, evaluation)
        write_json(folder / "metrics.json", record(config) | floors)


def measure_floors(
    data: Dataset, reference: Reference, extractor: Extractor, config: EvaluationConfig
) -> dict[str, Any]:
    """FIDs and whole scores of real test images (the best to hope for) and a crude generator."""
    per_class = min(ANCHOR_IMAGES, len(data.test_images)) // data.num_classes
    crude, labels = sample_anchor(data.train_images, data.train_labels, per_class, config.seed)
    scores: dict[str, dict[str, Any]] = {}
    for name, images, its_labels in (
        ("floor", data.test_images, data.test_labels),
        ("anchor", crude, labels),
    ):
        part = split(len(images), config, from_file=False)
        features = extract(images, extractor, config.batch_size, name, part)
        values = measure(features, np.asarray(its_labels), reference, config)
        scores[name] = values | {"num_images": len(images)}
    floors = {
        "floor_fid_of_test_images": scores["floor"]["fid"],
        f"bad_anchor_fid_of_{NAME}": scores["anchor"]["fid"],
    }
    return {"floors": floors, "scores": scores}


if __name__ == "__main__":
    run("reference", main, __doc__)
