"""What makes a score comparable: checks of the images, and the protocol written beside it."""

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Int

from nextbasis.config import EvaluationConfig
from nextbasis.scoring.rules import fid_name, find_rule
from nextbasis.scoring.samples import Source
from nextbasis.scoring.statistics import Statistics

NOT_GIVEN = "labels not given"
CAPTIONS = "labels are captions: not balanced"


def check_images(
    images: Source | np.ndarray,
    labels: np.ndarray | None,
    config: EvaluationConfig,
    num_classes: int,
) -> None:
    """Check what can be known before any feature is computed.

    Raises: ValueError naming the file, what was found and what is needed.
    """
    rule, shape = find_rule(config), images.shape
    where = f"{images.what}: " if isinstance(images, Source) and images.from_file else ""
    if len(shape) != 4:
        raise ValueError(f"{where}images must have shape (N, H, W, C), got {shape}")
    if len(images) == 0:
        raise ValueError(f"{where}there are 0 images to score")
    if images.dtype != np.uint8:
        raise ValueError(
            f"{where}images must be uint8, got {images.dtype}: bring them to [0, 255] and round "
            "(nextbasis.data.pictures.to_uint8)"
        )
    if shape[3] not in (1, 3):
        first = " (they seem to have channels first)" if shape[1] in (1, 3) else ""
        raise ValueError(f"{where}images must have shape (N, H, W, 1 or 3), got {shape}{first}")
    if labels is not None:
        _check_labels(labels, len(images), num_classes)
    balanced = 1 if rule.captioned else num_classes
    least = max(2 * config.neighbours + 2, 2 * balanced, config.is_splits)
    if len(images) < least:
        raise ValueError(
            f"{where}{len(images)} images are too few to score: needed are {least} (2 per class, "
            "2 * evaluation.neighbours + 2 and evaluation.is_splits)"
        )
    if rule.num_images and len(images) != rule.num_images:
        raise ValueError(
            f"protocol {config.protocol} needs {rule.num_images} images, got {len(images)}; "
            "score fewer under another evaluation.protocol"
        )


def _check_labels(labels: np.ndarray, num_images: int, num_classes: int) -> None:
    if labels.shape != (num_images,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be one integer per image, got {labels.dtype} {labels.shape} "
            f"for {num_images} images"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}"
        )


def check_against_reference(images: Source | np.ndarray, index: dict[str, Any]) -> None:
    """Check that the images have the reference's resolution and channels, where it tells them.

    Raises: ValueError naming both sizes.
    """
    size, channels = index.get("image_size"), index.get("channels")
    if size is not None and tuple(images.shape[1:]) != (size, size, channels):
        raise ValueError(
            f"images have height, width and channels {tuple(images.shape[1:])}, the reference has "
            f"{(size, size, channels)}: nothing is resized silently"
        )


def check_dimension(computed_on: str, reference: int, extractor: int) -> None:
    """Check that statistics and network have equally many features.

    Raises: ValueError naming both numbers.
    """
    if reference != extractor:
        raise ValueError(
            f"reference ({computed_on}): mu has {reference} numbers, the extractor {extractor} "
            "features: the statistics are of another network"
        )


def count_classes(
    labels: Int[np.ndarray, " n"] | None, num_classes: int, config: EvaluationConfig
) -> dict[str, int] | str:
    """Smallest and largest number of images of a class, or that nobody knows.

    Warns if they differ. Raises: ValueError if the protocol demands other numbers.
    """
    if labels is None:
        return NOT_GIVEN
    rule = find_rule(config)
    if rule.captioned:
        return CAPTIONS
    counts = np.bincount(labels, minlength=num_classes)
    found = {"min": int(counts.min()), "max": int(counts.max())}
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


def warn_about(all_alike: bool, num_images: int, reference: Statistics) -> None:
    """Warn about images that are all alike, and about fewer images than feature dimensions."""
    dim = len(reference.mu)
    if all_alike:
        warnings.warn("zero variance: all images have the same features", stacklevel=2)
    if not reference.sigma.any():
        warnings.warn(
            "the reference's sigma is zero: all its images have the same features, or nobody "
            "filled its file",
            stacklevel=2,
        )
    if num_images <= dim:
        warnings.warn(
            f"{num_images} images for {dim} feature dimensions: the covariance is singular and "
            "FID strongly biased",
            stacklevel=2,
        )


def describe(config: EvaluationConfig, num_images: int, from_file: bool) -> dict[str, Any]:
    """The settings of the protocol as they stand in score.json."""
    rule = find_rule(config)
    kept = from_file and rule.file_order
    return {
        "name": config.protocol,
        "fid_is": fid_name(config, num_images),
        "num_images": num_images,
        "extractor": config.extractor,
        "torch_fidelity": version("torch-fidelity"),
        "is_splits": config.is_splits,
        "is_order": "of the file" if kept else f"permuted by seed {config.seed}",
        "neighbours": config.neighbours,
        "num_reference": config.num_reference,
        "seed": config.seed,
        "dtype": "float32",
        "extractor_dtype": "float32",
        "known_offsets": rule.offsets,
    }
