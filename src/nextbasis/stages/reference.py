"""Reference statistics of the training images, with a floor and a bad anchor for every score."""

from typing import Any

import numpy as np
from jaxtyping import Float

from nextbasis.config import EvaluationConfig, ReferenceStage
from nextbasis.data.arrays import Dataset
from nextbasis.files import result_folder, sha256, staged_folder, write_json
from nextbasis.launch import run
from nextbasis.metrics.anchor import NAME, sample_anchor
from nextbasis.metrics.extractor import Extractor, load_extractor
from nextbasis.metrics.features import extract, stream
from nextbasis.metrics.protocol import check_images
from nextbasis.metrics.reference import FILE, Reference, choose_subset, load_reference
from nextbasis.metrics.score import measure
from nextbasis.metrics.statistics import RunningStatistics, Statistics
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
        statistics, features = summarise(data.train_images, subset, extractor, evaluation)
        np.savez(folder / FILE, mu=statistics.mu, sigma=statistics.sigma, features=features)
        write_json(
            folder / "index.json",
            {
                "sha256": sha256(folder / FILE),
                "computed_on": f"{data.index['name']}, {len(data.train_images)} training images",
                "num_images": len(data.train_images),
                "num_reference": evaluation.num_reference,
                "seed": evaluation.seed,
                "image_size": data.image_size,
                "channels": data.channels,
                "num_classes": data.num_classes,
                "extractor": extractor.name,
                "extractor_sha256": extractor.sha256,
            },
        )
        floors = measure_floors(data, load_reference(folder, evaluation), extractor, evaluation)
        write_json(folder / "metrics.json", record(config) | floors)


def summarise(
    images: np.ndarray, subset: np.ndarray, extractor: Extractor, config: EvaluationConfig
) -> tuple[Statistics, Float[np.ndarray, "m d"]]:
    """Statistics of all images and the features of those in `subset` (sorted positions)."""
    kept, running = [], None
    for where, pooled, _ in stream(images, extractor, config.batch_size, "reference"):
        running = running or RunningStatistics(pooled.shape[1])
        running.update(pooled)
        first, last = np.searchsorted(subset, (where.start, where.stop))
        kept.append(pooled[subset[first:last] - where.start].numpy())
    assert running is not None  # the dataset has images
    return running.result(), np.concatenate(kept)


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
        features = extract(images, extractor, config.batch_size, name)
        values = measure(features, np.asarray(its_labels), reference, config)
        scores[name] = values | {"num_images": len(images)}
    floors = {
        "floor_fid_of_test_images": scores["floor"]["fid"],
        f"bad_anchor_fid_of_{NAME}": scores["anchor"]["fid"],
    }
    return {"floors": floors, "scores": scores}


if __name__ == "__main__":
    run("reference", main, __doc__)
