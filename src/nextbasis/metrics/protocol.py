"""What makes a score comparable: checks of the images, and the protocol written beside it."""

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from nextbasis.config import EvaluationConfig


@dataclass(kw_only=True)
class Rule:
    """What a named protocol demands of the images; 0 demands nothing."""

    num_images: int
    per_class: int
    classifies: bool  # the extractor's classes are the labels, so accuracy means something


PROTOCOLS = {
    "tiny-plumbing": Rule(num_images=0, per_class=0, classifies=False),
    "cpu-fashion-v1": Rule(num_images=0, per_class=0, classifies=True),
    # FID-50K of Dhariwal & Nichol 2021: shuffled by a seed, then 10 splits of 5000 for IS.
    "adm": Rule(num_images=50_000, per_class=50, classifies=False),
}


def find_rule(config: EvaluationConfig) -> Rule:
    """What the protocol that `config` names demands.

    Raises: ValueError if it is unknown.
    """
    if config.protocol not in PROTOCOLS:
        raise ValueError(
            f"evaluation.protocol must be one of {', '.join(PROTOCOLS)}; got '{config.protocol}'"
        )
    return PROTOCOLS[config.protocol]


def check_images(
    images: np.ndarray, labels: np.ndarray, config: EvaluationConfig, num_classes: int
) -> None:
    """Check what can be known before any feature is computed.

    Raises: ValueError saying what was found and what is needed.
    """
    find_rule(config)
    if len(images) == 0:
        raise ValueError("there are 0 images to score")
    if images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8, got {images.dtype}: bring them to [0, 255] and round "
            "(nextbasis.data.pictures.to_uint8)"
        )
    if images.ndim != 4:
        raise ValueError(f"images must have shape (N, H, W, C), got {images.shape}")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be one integer per image, got {labels.dtype} {labels.shape} "
            f"for {len(images)} images"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}"
        )
    least = max(2 * config.neighbours + 2, 2 * num_classes, config.is_splits)
    if len(images) < least:
        raise ValueError(
            f"{len(images)} images are too few to score: needed are {least} (2 per class, "
            "2 * evaluation.neighbours + 2 and evaluation.is_splits)"
        )


def check_against_reference(images: np.ndarray, index: dict[str, Any]) -> None:
    """Check that the images have the reference's resolution and channels.

    Raises: ValueError naming both sizes.
    """
    expected = (index["image_size"], index["image_size"], index["channels"])
    if images.shape[1:] != expected:
        raise ValueError(
            f"images have height, width and channels {images.shape[1:]}, the reference has "
            f"{expected}: nothing is resized silently"
        )


def count_classes(labels: np.ndarray, num_classes: int, config: EvaluationConfig) -> dict[str, int]:
    """Smallest and largest number of images of a class.

    Warns if they differ. Raises: ValueError if the protocol demands other numbers.
    """
    counts = np.bincount(labels, minlength=num_classes)
    found = {"min": int(counts.min()), "max": int(counts.max())}
    rule = find_rule(config)
    if rule.num_images and len(labels) != rule.num_images:
        raise ValueError(
            f"protocol {config.protocol} needs {rule.num_images} images, got {len(labels)}; "
            "score fewer under another evaluation.protocol"
        )
    if rule.per_class and set(found.values()) != {rule.per_class}:
        raise ValueError(
            f"protocol {config.protocol} needs {rule.per_class} images of each class, got between "
            f"{found['min']} and {found['max']}"
        )
    if found["min"] != found["max"]:
        warnings.warn(
            f"classes are unbalanced: between {found['min']} and {found['max']} images each; FID "
            "is noisier and more biased than with equal numbers",
            stacklevel=2,
        )
    return found


def warn_about(all_alike: bool, num_images: int, dim: int) -> None:
    """Warn about images that are all alike, and about fewer images than feature dimensions."""
    if all_alike:
        warnings.warn("zero variance: all images have the same features", stacklevel=2)
    if num_images <= dim:
        warnings.warn(
            f"{num_images} images for {dim} feature dimensions: the covariance is singular and "
            "FID strongly biased",
            stacklevel=2,
        )


def describe(config: EvaluationConfig, num_images: int) -> dict[str, Any]:
    """The settings of the protocol as they stand in score.json."""
    return {
        "name": config.protocol,
        "num_images": num_images,
        "extractor": config.extractor,
        "torch_fidelity": version("torch-fidelity"),
        "is_splits": config.is_splits,
        "neighbours": config.neighbours,
        "num_reference": config.num_reference,
        "seed": config.seed,
        "dtype": "float32",
    }
