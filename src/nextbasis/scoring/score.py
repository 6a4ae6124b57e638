"""Score images: FID with its standard error, IS, precision, recall, KID, and their protocol."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8

from nextbasis.config import EvaluationConfig
from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import Features, assist, extract
from nextbasis.scoring.frechet import extrapolate, frechet_distance, standard_error
from nextbasis.scoring.protocol import (
    check_against_reference,
    check_dimension,
    check_images,
    count_classes,
    describe,
    warn_about,
)
from nextbasis.scoring.quality import kernel_distance, precision_and_recall, radii
from nextbasis.scoring.reference import Reference
from nextbasis.scoring.retrieval import describe_retrieval, retrieval
from nextbasis.scoring.rules import as_classes, find_rule, split
from nextbasis.scoring.samples import Source, from_array
from nextbasis.support import processes

SMALL_FID = 0.5  # below it the bias of finitely many images shows


def score_images(
    images: Source | UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"] | None,
    reference: Reference,
    config: EvaluationConfig,
    device: torch.device,
) -> dict[str, Any]:
    """The parts `values` and `protocol` of score.json; one pass over `images`.

    Of several processes each extracts features of its share; process 0 has the score, the others
    have an empty one.

    Raises: FileNotFoundError or ValueError for bad images or weights, before any feature is
    computed where it can be known.
    """
    source = images if isinstance(images, Source) else from_array(images)
    num_classes = reference.index["num_classes"]
    check_images(source, labels, config, num_classes)
    check_against_reference(source, reference.index)
    per_class = count_classes(labels, num_classes, config)
    extractor = load_extractor(config, device)
    computed_on, dim = reference.index["computed_on"], len(reference.statistics.mu)
    check_dimension(computed_on, dim, extractor.dim)
    if processes.rank() > 0:
        assist(source, extractor, config.batch_size)
        return {}
    part = split(len(source), config, source.from_file)
    features = extract(source, extractor, config.batch_size, "score", part)
    protocol = describe(config, len(source), source.from_file) | {
        "per_class": per_class,
        "duplicates": features.duplicates,
        "samples_sha256": features.sha256,
        "reference": computed_on,
        "reference_sha256": reference.sha256,
        "extractor_sha256": extractor.sha256,
        "device": device.type,
    }
    if reference.gallery is not None and labels is not None:
        protocol |= describe_retrieval(labels, reference.gallery)
    return {"values": measure(features, labels, reference, config), "protocol": protocol}


def measure(
    features: Features,
    labels: Int[np.ndarray, " n"] | None,
    reference: Reference,
    config: EvaluationConfig,
) -> dict[str, float]:
    """The values of a score; some only where reference, labels or protocol allow them."""
    pooled, sample = features.pooled, features.statistics
    warn_about(bool((pooled == pooled[0]).all()), len(pooled), reference.statistics)
    given = np.zeros(len(pooled), np.int64) if labels is None else np.asarray(labels)
    classes, _ = as_classes(given, reference.index["num_classes"], config)
    numbers = pooled.numpy()
    fid = frechet_distance(sample, reference.statistics)
    values = {"fid": fid, "fid_se": standard_error(numbers, classes, sample, reference.statistics)}
    if fid < SMALL_FID:
        values["fid_extrapolated"] = extrapolate(fid, numbers, classes, reference.statistics)
    if features.spatial is not None and reference.spatial is not None:
        values["sfid"] = frechet_distance(features.spatial, reference.spatial)
    values["is_mean"], values["is_std"] = features.inception.result()
    if find_rule(config).classifies and labels is not None:
        values["accuracy"] = float((features.predicted == classes).mean())
    if reference.features is not None and reference.radii is not None:
        values["precision"], values["recall"] = precision_and_recall(
            pooled, radii(pooled, config.neighbours), reference.features, reference.radii
        )
        values["kid"] = kernel_distance(pooled, reference.features)
    if reference.gallery is not None and labels is not None:
        values |= retrieval(pooled, labels, reference.gallery)
    return values
