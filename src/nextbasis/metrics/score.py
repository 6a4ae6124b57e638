"""Score images: FID with its standard error, IS, precision and recall, and their protocol."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from nextbasis.config import EvaluationConfig
from nextbasis.metrics.extractor import load_extractor
from nextbasis.metrics.features import Features, extract
from nextbasis.metrics.frechet import frechet_distance, standard_error
from nextbasis.metrics.protocol import (
    check_against_reference,
    check_images,
    count_classes,
    describe,
    find_rule,
    warn_about,
)
from nextbasis.metrics.quality import measure_quality
from nextbasis.metrics.reference import Reference, load_reference


def score_images(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    reference_folder: Path,
    config: EvaluationConfig,
    device: torch.device,
) -> dict[str, Any]:
    """The parts `values` and `protocol` of score.json; one pass over `images`.

    Raises: FileNotFoundError or ValueError for bad images, weights or reference, before any
    feature is computed where it can be known.
    """
    reference = load_reference(reference_folder, config)
    num_classes = reference.index["num_classes"]
    check_images(images, labels, config, num_classes)
    check_against_reference(images, reference.index)
    per_class = count_classes(labels, num_classes, config)
    extractor = load_extractor(config, device)
    features = extract(images, extractor, config.batch_size, "score")
    protocol = describe(config, len(images)) | {
        "per_class": per_class,
        "duplicates": features.duplicates,
        "reference": reference.index["computed_on"],
        "reference_sha256": reference.sha256,
        "extractor_sha256": extractor.sha256,
        "device": device.type,
    }
    return {"values": measure(features, labels, reference, config), "protocol": protocol}


def measure(
    features: Features,
    labels: Int[np.ndarray, " n"],
    reference: Reference,
    config: EvaluationConfig,
) -> dict[str, float]:
    """The values of a score; `accuracy` too where the extractor's classes are the labels."""
    pooled, sample = features.pooled, features.statistics
    warn_about(bool((pooled == pooled[0]).all()), len(pooled), pooled.shape[1])
    quality = measure_quality(
        pooled,
        features.logits,
        reference.features,
        splits=config.is_splits,
        neighbours=config.neighbours,
        seed=config.seed,
    )
    values = {
        "fid": frechet_distance(sample, reference.statistics),
        "fid_se": standard_error(pooled.numpy(), labels, sample, reference.statistics),
    }
    if find_rule(config).classifies:
        values["accuracy"] = accuracy(features.logits, labels)
    return values | asdict(quality)


def accuracy(logits: Tensor, labels: Int[np.ndarray, " n"]) -> float:
    """Share of the images that the extractor puts into the class that was asked for."""
    return float((logits.argmax(1).numpy() == labels).mean())
