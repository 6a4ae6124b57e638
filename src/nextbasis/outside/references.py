"""`nextbasis reference`: a folder of reference statistics from images or from another's file."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from nextbasis.config import EvaluationConfig
from nextbasis.files import sha256, staged_folder
from nextbasis.metrics.extractor import load_extractor
from nextbasis.metrics.reference import choose_subset, summarise, write_reference
from nextbasis.metrics.rules import as_classes
from nextbasis.metrics.sources import open_source
from nextbasis.metrics.statistics import Statistics
from nextbasis.outside.evaluation import import_statistics
from nextbasis.provenance import device


def make_reference(
    source: Path,
    out: Path,
    config: EvaluationConfig,
    labels: Int64[np.ndarray, " n"] | None,
    num_classes: int,
    computed_on: str,
) -> dict[str, str]:
    """Write statistics.npz and index.json into the new folder `out`; what to print.

    Raises: FileNotFoundError or ValueError naming the file or option.
    """
    if out.exists():
        raise ValueError(f"{out} exists already")
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
    if not (path.is_file() and path.suffix == ".npz" and zipfile.is_zipfile(path)):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"mu.npy", "sigma.npy"} <= set(archive.namelist())


def _compute(
    path: Path, config: EvaluationConfig, labels: np.ndarray | None, num_classes: int
) -> tuple[tuple[Statistics, Statistics | None, Tensor | None], dict[str, Any]]:
    images = open_source(path)
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
    }
    return summarise(images, subset, extractor, config.batch_size), about
