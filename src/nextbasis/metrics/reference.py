"""Reference statistics: what generated images are compared with, and where it came from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.config import EvaluationConfig
from nextbasis.files import read_json, sha256
from nextbasis.metrics.statistics import Statistics

FILE = "statistics.npz"
TOLERANCE = 1e-6  # relative asymmetry or negative eigenvalue that rounding explains


@dataclass(kw_only=True)
class Reference:
    """Statistics of the reference images, features of a fixed subset, and their origin."""

    statistics: Statistics
    features: Float[Tensor, "m d"]
    sha256: str  # of statistics.npz
    index: dict[str, Any]  # index.json


def choose_subset(
    labels: Int[np.ndarray, " n"], num_classes: int, num_reference: int, seed: int
) -> Int[np.ndarray, " m"]:
    """Sorted positions of `num_reference` images, the same number of each class.

    Raises: ValueError if the classes cannot be balanced.
    """
    per_class, rest = divmod(num_reference, num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    if rest or per_class > counts.min():
        raise ValueError(
            f"evaluation.num_reference must be a multiple of the {num_classes} classes and at "
            f"most {counts.min() * num_classes} (the smallest class has {counts.min()} images), "
            f"got {num_reference}"
        )
    generator = np.random.default_rng(seed)
    chosen = [
        generator.choice(np.flatnonzero(labels == label), per_class, replace=False)
        for label in range(num_classes)
    ]
    return np.sort(np.concatenate(chosen))


def load_reference(folder: Path, config: EvaluationConfig) -> Reference:
    """Read and check the reference statistics in `folder`.

    Raises: FileNotFoundError or ValueError saying what is missing, damaged or foreign.
    """
    path = folder / FILE
    for needed in (path, folder / "index.json"):
        if not needed.is_file():
            raise FileNotFoundError(
                f"{needed} is missing: make it with `python -m nextbasis.stages.reference "
                "scale=… evaluation=…`"
            )
    index, digest = read_json(folder / "index.json"), sha256(path)
    _check_origin(path, index, digest, config)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (BadZipFile, ValueError, OSError) as error:
        raise ValueError(f"{path} is not a readable npz file ({error}); make it again") from error
    if absent := sorted({"mu", "sigma", "features"} - found.keys()):
        raise ValueError(f"{path} has no {', '.join(absent)}; it has {', '.join(found)}")
    mu, sigma, features = (found[name] for name in ("mu", "sigma", "features"))
    check_statistics(path, mu, sigma, features)
    statistics = Statistics(
        mu=mu.astype(np.float64), sigma=sigma.astype(np.float64), count=index["num_images"]
    )
    return Reference(
        statistics=statistics,
        features=torch.from_numpy(features.astype(np.float32)),
        sha256=digest,
        index=index,
    )


def _check_origin(path: Path, index: dict[str, Any], digest: str, config: EvaluationConfig) -> None:
    wanted = {
        "sha256": digest,
        "extractor": config.extractor,
        "extractor_sha256": config.weights_sha256,
        "num_reference": config.num_reference,
        "seed": config.seed,
    }
    for key, value in wanted.items():
        if index.get(key) != value:
            raise ValueError(
                f"{path} does not belong here: its index.json says {key} = {index.get(key)}, "
                f"needed {value}; make it again with the reference stage"
            )


def check_statistics(path: Path, mu: np.ndarray, sigma: np.ndarray, features: np.ndarray) -> None:
    """Check shapes, finiteness, symmetry and positive semi-definiteness.

    Raises: ValueError naming the file and what is wrong with it.
    """
    dim = mu.shape[0] if mu.ndim == 1 else -1
    if sigma.shape != (dim, dim) or features.ndim != 2 or features.shape[1] != dim:
        raise ValueError(
            f"{path}: mu {mu.shape}, sigma {sigma.shape} and features {features.shape} do not "
            "fit; expected (d,), (d, d) and (m, d)"
        )
    if not all(np.isfinite(array).all() for array in (mu, sigma, features)):
        raise ValueError(f"{path} contains numbers that are not finite")
    size = max(float(np.abs(sigma).max()), np.finfo(np.float64).tiny)
    if np.abs(sigma - sigma.T).max() > TOLERANCE * size:
        raise ValueError(f"{path}: sigma is not symmetric, so it is no covariance")
    if np.linalg.eigvalsh(sigma)[0] < -TOLERANCE * size * dim:
        raise ValueError(f"{path}: sigma has a negative eigenvalue, so it is no covariance")
