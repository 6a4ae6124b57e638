"""Reference statistics: what generated images are compared with, and where it came from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from nextbasis.config import EvaluationConfig
from nextbasis.data.arrays import read_index
from nextbasis.scoring.extractor import Extractor
from nextbasis.scoring.features import stream
from nextbasis.scoring.quality import radii
from nextbasis.scoring.retrieval import Gallery
from nextbasis.scoring.samples import Source
from nextbasis.scoring.statistics import RunningStatistics, Statistics
from nextbasis.support.files import sha256, write_json
from nextbasis.support.npy import read_npz
from nextbasis.support.words import listed

FILE = "statistics.npz"
ORIGIN = ("num_images", "computed_on", "num_classes", "image_size", "channels")  # in index.json
TOLERANCE = 1e-6  # relative asymmetry or negative eigenvalue that rounding explains
NEEDED = {"mu", "sigma"}
PAIRS = (("features", "radii"), ("mu_s", "sigma_s"), ("test_features", "test_labels"))
OPTIONAL = {name for pair in PAIRS for name in pair}
DTYPES: dict[str, type] = {name: np.float32 for name in ("features", "radii", "test_features")}
DTYPES["test_labels"] = np.int64  # the others are float64
FLOATS = (np.float32, np.float64)  # a covariance in half precision gives another FID
ACCEPTED: dict[str, tuple[type, ...]] = {"test_labels": (np.int32, np.int64)}


@dataclass(kw_only=True)
class Reference:
    """Statistics of the reference images, features of a fixed subset, and their origin."""

    statistics: Statistics
    features: Float[Tensor, "m d"] | None  # for precision, recall and KID
    radii: Float[Tensor, " m"] | None  # of their neighbourhoods
    spatial: Statistics | None  # for sFID
    sha256: str  # of statistics.npz
    index: dict[str, Any]  # index.json
    gallery: Gallery | None = None  # for retrieval, where labels are captions


def write_reference(
    folder: Path,
    statistics: Statistics,
    features: Float[Tensor, "m d"] | None,
    spatial: Statistics | None,
    config: EvaluationConfig,
    about: dict[str, Any],
    gallery: Gallery | None = None,
) -> None:
    """Write statistics.npz and index.json; `about` says what they were computed on."""
    arrays = {"mu": statistics.mu, "sigma": statistics.sigma}
    if features is not None:
        arrays |= {
            "features": features.numpy(),
            "radii": radii(features, config.neighbours).numpy(),
        }
    if spatial is not None:
        arrays |= {"mu_s": spatial.mu, "sigma_s": spatial.sigma}
    if gallery is not None:
        arrays |= {"test_features": gallery.features.numpy(), "test_labels": gallery.labels}
    np.savez(folder / FILE, **arrays)  # type: ignore[arg-type]
    made = {
        "sha256": sha256(folder / FILE),
        "num_images": statistics.count,
        "num_reference": config.num_reference if features is not None else 0,
        "neighbours": config.neighbours,
        "seed": config.seed,
        "extractor": config.extractor,
        "extractor_sha256": config.weights_sha256,
    }
    write_json(folder / "index.json", about | made)


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


def summarise(
    images: Source | UInt8[np.ndarray, "n h w c"],
    subset: Int[np.ndarray, " m"],
    extractor: Extractor,
    batch_size: int,
) -> tuple[Statistics, Statistics | None, Float[Tensor, "m d"]]:
    """Statistics (pooled, spatial) of all images, and the features of those in `subset`.

    `subset` holds sorted positions. Memory does not grow with the number of images.
    """
    kept, running, spatial = [], None, None
    for batch in stream(images, extractor, batch_size, "reference"):
        running = running or RunningStatistics(batch.pooled.shape[1])
        running.update(batch.pooled)
        if batch.spatial is not None:
            spatial = spatial or RunningStatistics(batch.spatial.shape[1])
            spatial.update(batch.spatial)
        first, last = np.searchsorted(subset, (batch.where.start, batch.where.stop))
        kept.append(batch.pooled[subset[first:last] - batch.where.start])
    assert running is not None  # callers refuse empty sets
    return running.result(), spatial.result() if spatial else None, torch.cat(kept)


def load_reference(folder: Path, config: EvaluationConfig) -> Reference:
    """Read and check the reference statistics in `folder`.

    Raises: FileNotFoundError or ValueError saying what is missing, damaged or foreign.
    """
    path = folder / FILE
    for needed in (path, folder / "index.json"):
        if not needed.is_file():
            raise FileNotFoundError(
                f"{needed} is missing: `nextbasis reference` makes one of a folder of images, "
                "`dvc repro config/scales/SCALE/dvc.yaml:reference` that of a scale"
            )
    index, digest = read_index(folder, ORIGIN), sha256(path)
    _check_sizes(folder / "index.json", index)
    _check_origin(path, index, digest, config)
    found = read_statistics(path)
    count = index["num_images"]
    features, reach = found.get("features"), found.get("radii")
    return Reference(
        statistics=Statistics(mu=found["mu"], sigma=found["sigma"], count=count),
        features=None if features is None else torch.from_numpy(features),
        radii=None if reach is None else torch.from_numpy(reach),
        spatial=Statistics(mu=found["mu_s"], sigma=found["sigma_s"], count=count)
        if "mu_s" in found
        else None,
        sha256=digest,
        index=index,
        gallery=Gallery(
            features=torch.from_numpy(found["test_features"]), labels=found["test_labels"]
        )
        if "test_features" in found
        else None,
    )


def read_statistics(path: Path) -> dict[str, np.ndarray]:
    """Read and check an .npz file of statistics: ours, ADM's (mu, sigma, mu_s, …) or MAR's.

    Other arrays in it are left alone. Statistics come as float64, features as float32.

    Raises: ValueError naming the file and what is wrong with it.
    """
    try:
        found, present = read_npz(path, sorted(NEEDED | OPTIONAL))
    except ValueError as error:
        raise ValueError(f"{error}; statistics are an .npz file with mu and sigma") from error
    if absent := sorted(NEEDED - found.keys()):
        raise ValueError(f"{path} has no {' and no '.join(absent)}; it has {listed(present)}")
    for name, array in found.items():
        if array.dtype.newbyteorder("=") not in ACCEPTED.get(name, FLOATS):
            needed = listed(map(np.dtype, ACCEPTED.get(name, FLOATS)), " or ")
            raise ValueError(f"{path}: {name} is of type {array.dtype}; it must be {needed}")
    for pair in PAIRS:
        if len(found.keys() & set(pair)) == 1:
            raise ValueError(f"{path} must have both or none of {' and '.join(pair)}")
    _check_covariance(path, "mu", "sigma", found)
    if "mu_s" in found:
        _check_covariance(path, "mu_s", "sigma_s", found)
    for names in (("features", "radii"), ("test_features", "test_labels")):
        _check_features(path, *names, found)
    return {name: array.astype(DTYPES.get(name, np.float64)) for name, array in found.items()}


def _check_sizes(path: Path, index: dict[str, Any]) -> None:
    """Check what an index says of the images; their size may be unknown (null)."""
    for key in ("num_classes", "image_size", "channels"):
        value, unknown = index[key], key != "num_classes" and index[key] is None
        if not unknown and (type(value) is not int or value < 1):
            raise ValueError(f"{path}: {key} must be a whole number above 0, got {value!r}")


def _check_origin(path: Path, index: dict[str, Any], digest: str, config: EvaluationConfig) -> None:
    wanted: dict[str, Any] = {
        "sha256": digest,
        "extractor": config.extractor,
        "extractor_sha256": config.weights_sha256,
    }
    if index.get("num_reference") != 0:  # imported statistics may have no images
        wanted |= {
            "num_reference": config.num_reference,
            "neighbours": config.neighbours,
            "seed": config.seed,
        }
    for key, value in wanted.items():
        if index.get(key) != value:
            raise ValueError(
                f"{path} does not belong here: its index.json says {key} = {index.get(key)}, "
                f"needed {value}; make it again with the reference stage"
            )


def _check_features(path: Path, name: str, of_each: str, found: dict[str, np.ndarray]) -> None:
    """Check features and what stands beside them, one number an image."""
    if name not in found:
        return
    features, others = found[name], found[of_each]
    if features.ndim != 2 or features.shape != (*others.shape, *found["mu"].shape):
        raise ValueError(
            f"{path}: mu {found['mu'].shape}, {name} {features.shape} and {of_each} {others.shape} "
            "do not fit; expected (d,), (m, d) and (m,)"
        )
    if not (np.isfinite(features).all() and np.isfinite(others).all()):
        raise ValueError(f"{path} contains numbers that are not finite")


def _check_covariance(path: Path, mean: str, covariance: str, found: dict[str, np.ndarray]) -> None:
    """Check shapes, finiteness, symmetry and positive semi-definiteness."""
    mu, sigma = found[mean], found[covariance]
    dim = mu.shape[0] if mu.ndim == 1 else -1
    if dim < 1 or sigma.shape != (dim, dim):
        raise ValueError(
            f"{path}: {mean} {mu.shape} and {covariance} {sigma.shape} do not fit; expected (d,) "
            "and (d, d)"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ValueError(f"{path} contains numbers that are not finite")
    size = max(float(np.abs(sigma).max()), np.finfo(np.float64).tiny)
    if np.abs(sigma - sigma.T).max() > TOLERANCE * size:
        raise ValueError(f"{path}: {covariance} is not symmetric, so it is no covariance")
    if np.linalg.eigvalsh(sigma)[0] < -TOLERANCE * size * dim:
        raise ValueError(f"{path}: {covariance} has a negative eigenvalue, so it is no covariance")
