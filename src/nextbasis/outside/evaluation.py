"""Which protocol and which reference a command scores with, checked before any long work."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from nextbasis.config import EvaluationConfig, compose
from nextbasis.files import sha256
from nextbasis.metrics.extractor import load_extractor
from nextbasis.metrics.features import extract
from nextbasis.metrics.quality import radii
from nextbasis.metrics.reference import Reference, load_reference, read_statistics
from nextbasis.metrics.rules import find_rule
from nextbasis.metrics.sources import Source, from_array
from nextbasis.metrics.statistics import Statistics
from nextbasis.provenance import device


def choose_evaluation(scale: str, protocol: str, weights: str) -> EvaluationConfig:
    """The evaluation of a scale, with another protocol or file of weights where one is named.

    Raises: ValueError naming the key that does not fit.
    """
    config = compose("reference", [f"scale={scale}", f"evaluation={scale}"]).evaluation
    if protocol:
        config = replace(config, protocol=protocol)
    if weights:
        config = replace(config, weights=weights)
    find_rule(config)
    return config


def read_labels(path: Path | None) -> Int64[np.ndarray, " n"] | None:
    """Labels in a .npy file, where one is given.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    if path is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"--labels: no file {path}")
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"--labels: {path} is not a complete .npy file ({error})") from error
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"--labels: {path} must hold one integer per image, got {labels.shape}")
    return labels.astype(np.int64)


def open_reference(path: Path, config: EvaluationConfig, num_classes: int) -> Reference:
    """A folder made by `nextbasis reference` or the pipeline, or a file of statistics.

    Raises: FileNotFoundError or ValueError naming the file and what is wrong with it.
    """
    if path.is_dir():
        return load_reference(path, config)
    if not path.is_file():
        raise FileNotFoundError(f"--reference: no file or folder {path}")
    return import_statistics(path, config, num_classes, f"{path.name}, imported")


def import_statistics(
    path: Path, config: EvaluationConfig, num_classes: int, computed_on: str
) -> Reference:
    """ADM's file (mu, sigma, mu_s, sigma_s, images in arr_0) or MAR's (mu, sigma).

    Only ADM's images, if there are as many as the protocol wants, give precision and recall; they
    are computed here. Statistics are believed to be of `config`'s extractor: the file cannot tell.

    Raises: ValueError naming the file and what is wrong with it.
    """
    found = read_statistics(path)
    images = _images(path, config)
    features = None
    if images is not None:
        extractor = load_extractor(config, device())
        features = extract(images, extractor, config.batch_size, "reference").pooled
    index = {
        "computed_on": computed_on,
        "image_size": None if images is None else images.shape[1],
        "channels": None if images is None else images.shape[3],
        "num_classes": num_classes,
    }
    spatial = None
    if "mu_s" in found:
        spatial = Statistics(mu=found["mu_s"], sigma=found["sigma_s"], count=0)
    return Reference(
        statistics=Statistics(mu=found["mu"], sigma=found["sigma"], count=0),
        features=features,
        radii=None if features is None else radii(features, config.neighbours),
        spatial=spatial,
        sha256=sha256(path),
        index=index,
    )


def _images(path: Path, config: EvaluationConfig) -> Source | None:
    with np.load(path, allow_pickle=False) as arrays:
        if "arr_0" not in arrays.files:
            return None
        images = arrays["arr_0"]
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != config.num_reference:
        raise ValueError(
            f"{path}: arr_0 must be {config.num_reference} uint8 images (N, H, W, C) for precision "
            f"and recall, got {images.dtype} {images.shape}"
        )
    return from_array(images, str(path))
