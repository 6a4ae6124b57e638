"""Two samplers of one checkpoint, image by image on the same labels and noise."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8

from nextbasis.config import EvaluationConfig
from nextbasis.scoring.extractor import Extractor, load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.frechet import frechet_distance, influences, paired_error
from nextbasis.scoring.reference import Reference
from nextbasis.scoring.rules import as_classes
from nextbasis.support.provenance import device


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What one sampler made."""

    name: str  # in messages
    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]


def paired_distances(
    first: Samples, second: Samples, reference: Reference, config: EvaluationConfig
) -> tuple[float, float, float]:
    """FID of the first samples, FID of the second, and the standard error of the difference.

    Raises: ValueError if their labels differ.
    """
    if not np.array_equal(first.labels, second.labels):
        raise ValueError(f"{first.name} and {second.name} have other labels: they cannot be paired")
    extractor = load_extractor(config, device())
    one, moved_one = _distance(first, reference, extractor, config)
    two, moved_two = _distance(second, reference, extractor, config)
    classes, _ = as_classes(first.labels, reference.index["num_classes"], config)
    return one, two, paired_error(moved_one, moved_two, classes)


def _distance(
    samples: Samples, reference: Reference, extractor: Extractor, config: EvaluationConfig
) -> tuple[float, Float[np.ndarray, " n"]]:
    """FID, and how far each image moves it."""
    found = extract(samples.images, extractor, config.batch_size, samples.name)
    moved = influences(found.pooled.numpy(), found.statistics, reference.statistics)
    return frechet_distance(found.statistics, reference.statistics), moved
