"""Reference statistics, with a floor, blurred images and a bad anchor for every score.

They are of the training images; under the protocol of MS-COCO, of the test images.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from nextbasis.config import EvaluationConfig, ReferenceStage
from nextbasis.data.arrays import Dataset
from nextbasis.scoring.anchor import BLURS, NAME, blurred, sample_anchor
from nextbasis.scoring.extractor import Extractor, load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.protocol import check_images
from nextbasis.scoring.reference import (
    Reference,
    choose_subset,
    load_reference,
    summarise,
    write_reference,
)
from nextbasis.scoring.retrieval import Gallery
from nextbasis.scoring.rules import as_classes, find_rule, split
from nextbasis.scoring.score import measure
from nextbasis.stages import run
from nextbasis.support.files import result_folder, staged_folder, write_json
from nextbasis.support.provenance import device, record

ANCHOR_IMAGES = 10_000  # at most; fewer where the dataset has fewer test images


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images of one split."""

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]


def main(config: ReferenceStage) -> None:
    """Write statistics.npz, index.json and metrics.json (floors) to results/<scale>/reference."""
    evaluation = config.evaluation
    data = Dataset(result_folder(config.scale, "dataset"))
    real, unseen = parts(data, evaluation)
    check_images(unseen.images, unseen.labels, evaluation, data.num_classes)
    labels, num_classes = as_classes(real.labels, data.num_classes, evaluation)
    subset = choose_subset(labels, num_classes, evaluation.num_reference, evaluation.seed)
    extractor = load_extractor(evaluation, device())
    with staged_folder(result_folder(config.scale, "reference")) as folder:
        statistics, spatial, features = summarise(
            real.images, subset, extractor, evaluation.batch_size
        )
        about = {
            "computed_on": f"{data.index['name']}, {len(real.images)} {real.name} images",
            "image_size": data.image_size,
            "channels": data.channels,
            "num_classes": data.num_classes,
        }
        gallery = make_gallery(data, extractor, evaluation)
        write_reference(folder, statistics, features, spatial, evaluation, about, gallery)
        reference = load_reference(folder, evaluation)
        floors = measure_floors(real, unseen, reference, extractor, evaluation)
        write_json(folder / "metrics.json", record(config) | floors)


def parts(data: Dataset, config: EvaluationConfig) -> tuple[Part, Part]:
    """The images that the reference is of, and others that show the best to hope for.

    Against test images those are as many training images as the protocol scores: what a perfect
    model of the training images would reach.
    """
    train = Part(name="training", images=data.train_images, labels=data.train_labels)
    test = Part(name="test", images=data.test_images, labels=data.test_labels)
    rule = find_rule(config)
    if not rule.on_test:
        return train, test
    most = rule.num_images or ANCHOR_IMAGES
    return test, Part(name=train.name, images=train.images[:most], labels=train.labels[:most])


def make_gallery(data: Dataset, extractor: Extractor, config: EvaluationConfig) -> Gallery | None:
    """Features and captions of all test images, where labels are captions."""
    if not find_rule(config).captioned:
        return None
    found = extract(data.test_images, extractor, config.batch_size, "test images")
    return Gallery(features=found.pooled, labels=np.array(data.test_labels))


def measure_floors(
    real: Part,
    unseen: Part,
    reference: Reference,
    extractor: Extractor,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """FIDs and whole scores of real images (the best to hope for), blurred ones and crude ones.

    Blurred images show how much of a score is sharpness alone.

    Where labels are captions, the crude images get those of the test images in turn, so that their
    retrieval is what chance gives.
    """
    labels, num_classes = as_classes(real.labels, reference.index["num_classes"], config)
    per_class = min(ANCHOR_IMAGES, len(unseen.images)) // num_classes
    crude, its_labels = sample_anchor(real.images, labels, per_class, config.seed)
    if reference.gallery is not None:
        its_labels = np.resize(reference.gallery.labels, len(crude))
    anchor = Part(name="anchor", images=crude, labels=its_labels)
    sharp, their_labels = unseen.images[:ANCHOR_IMAGES], unseen.labels[:ANCHOR_IMAGES]
    soft = [
        Part(
            name=f"blur_{sigma}",
            images=blurred(sharp, sigma, config.batch_size),
            labels=their_labels,
        )
        for sigma in BLURS
    ]
    scores: dict[str, dict[str, Any]] = {}
    for name, part in (
        ("floor", unseen),
        *((each.name, each) for each in soft),
        ("anchor", anchor),
    ):
        splits = split(len(part.images), config, from_file=False)
        features = extract(part.images, extractor, config.batch_size, name, splits)
        values = measure(features, np.asarray(part.labels), reference, config)
        scores[name] = values | {"num_images": len(part.images)}
    floors = {
        f"floor_fid_of_{unseen.name}_images": scores["floor"]["fid"],
        f"bad_anchor_fid_of_{NAME}": scores["anchor"]["fid"],
    }
    return {"floors": floors, "scores": scores}


if __name__ == "__main__":
    run("reference", main, __doc__)
