"""What somebody brings to be scored, or to be compared with: images, labels, statistics.

The files of others are checked, and the protocol that measures them chosen, before any long work.
"""

import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from nextbasis.config import EvaluationConfig, compose
from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.quality import radii
from nextbasis.scoring.reference import (
    Reference,
    choose_subset,
    load_reference,
    read_statistics,
    summarise,
    write_reference,
)
from nextbasis.scoring.rules import as_classes, check_rounding, find_rule
from nextbasis.scoring.samples import SAMPLE_ARRAY, Source, from_array, open_source
from nextbasis.scoring.score import score_images
from nextbasis.scoring.statistics import Statistics
from nextbasis.support.files import as_text, check_new, sha256, staged_folder
from nextbasis.support.npy import read_npy, read_npz
from nextbasis.support.provenance import device, record

UNKNOWN = "not recorded: samples from outside"


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
        labels = read_npy(path)
    except ValueError as error:
        raise ValueError(f"--labels: {error}") from error
    if labels.dtype.kind == "u" and labels.size and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"--labels: {path} holds {labels.max()}; labels are numbers of classes")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"--labels: {path} must hold one integer per image, got {labels.dtype} {labels.shape}"
        )
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


def score(
    samples: Source,
    path: Path,
    labels: Int64[np.ndarray, " n"] | None,
    reference: Reference,
    config: EvaluationConfig,
    about: dict[str, str],
) -> dict[str, Any]:
    """The score of samples at `path`, with what `about` tells (rounding, source) in its protocol.

    Raises: ValueError for bad images; all that can be known is checked before the first feature.
    """
    check_rounding(config, about["rounding"])
    _warn(samples, labels is not None)
    found = score_images(samples, labels, reference, config, device())
    if copies := found["protocol"]["duplicates"]:
        warnings.warn(
            f"{copies} of {len(samples)} images are exact copies of others: they count as often as "
            "they are there",
            stacklevel=2,
        )
    found["protocol"] |= {
        "weights": UNKNOWN,
        "sampler": UNKNOWN,
        "samples": as_text(Path(path.name)),
        "samples_file_sha256": sha256(path) if path.is_file() else "a folder; see samples_sha256",
        **samples.stored,
        **about,
    }
    found["provenance"] = record(config)
    return found


def make_reference(
    source: Path,
    out: Path,
    config: EvaluationConfig,
    labels: Int64[np.ndarray, " n"] | None,
    num_classes: int,
    computed_on: str,
) -> dict[str, str]:
    """Write statistics.npz and index.json into the new folder `out`; what to print.

    Raises: FileNotFoundError, FileExistsError or ValueError naming the file or option.
    """
    check_new(out)
    if holds_statistics(source):
        found = import_statistics(source, config, num_classes, computed_on)
        statistics, features, spatial = found.statistics, found.features, found.spatial
        about = found.index | {"imported_sha256": sha256(source)}
    else:
        (statistics, spatial, features), about = _compute(source, config, labels, num_classes)
    about["computed_on"] = computed_on
    with staged_folder(out) as folder:
        write_reference(folder, statistics, features, spatial, config, about)
    return {"written": str(out), "images": str(statistics.count or "not told by the file")}


def holds_statistics(path: Path) -> bool:
    """Whether a file is an .npz archive with mu and sigma."""
    if not (path.is_file() and path.suffix.lower() == ".npz" and zipfile.is_zipfile(path)):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"mu.npy", "sigma.npy"} <= set(archive.namelist())


def _images(path: Path, config: EvaluationConfig) -> Source | None:
    found, _ = read_npz(path, {SAMPLE_ARRAY})
    if SAMPLE_ARRAY not in found:
        return None
    images = found[SAMPLE_ARRAY]
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != config.num_reference:
        raise ValueError(
            f"{path}: {SAMPLE_ARRAY} must be {config.num_reference} uint8 images (N, H, W, C) for "
            f"precision and recall, got {images.dtype} {images.shape}"
        )
    return from_array(images, str(path))


def _compute(
    path: Path, config: EvaluationConfig, labels: np.ndarray | None, num_classes: int
) -> tuple[tuple[Statistics, Statistics | None, Tensor | None], dict[str, Any]]:
    images = open_source(path)
    _warn(images, labels is not None)
    if images.dtype != np.uint8 or len(images.shape) != 4 or images.shape[1] != images.shape[2]:
        raise ValueError(
            f"{path} must hold square uint8 images (N, H, W, C), got {images.dtype} {images.shape}"
        )
    if len(images) < config.num_reference:
        raise ValueError(
            f"{path} holds {len(images)} images, evaluation.num_reference is {config.num_reference}"
        )
    if labels is None:  # nobody knows the classes: any images
        random = np.random.default_rng(config.seed)
        subset = np.sort(random.choice(len(images), config.num_reference, replace=False))
    elif len(labels) != len(images):
        raise ValueError(f"--labels: {len(labels)} labels for {len(images)} images")
    else:
        classes = as_classes(labels, num_classes, config)
        subset = choose_subset(*classes, config.num_reference, config.seed)
    extractor = load_extractor(config, device())
    about = {
        "image_size": images.shape[1],
        "channels": images.shape[3],
        "num_classes": num_classes,
        **images.stored,
    }
    return summarise(images, subset, extractor, config.batch_size), about


def _warn(source: Source, with_labels: bool) -> None:
    """Say what whoever brings images must know; of their order only where labels follow it."""
    for remark in [*source.remarks, *(source.order if with_labels else ())]:
        warnings.warn(remark, stacklevel=3)
