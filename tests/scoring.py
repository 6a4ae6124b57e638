"""What the tests of scores share: a configuration, pictures, Gaussians, reference statistics."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nextbasis.config import EvaluationConfig, SampleStage, compose
from nextbasis.scoring.quality import radii
from nextbasis.scoring.reference import FILE
from nextbasis.scoring.statistics import Statistics
from nextbasis.support.files import result_folder, sha256, write_json
from nextbasis.support.provenance import config_hash

CPU = torch.device("cpu")
NUM_CLASSES = 10


def evaluation(**changes: Any) -> EvaluationConfig:
    config = compose("reference", ["evaluation=cpu", "scale=cpu"]).evaluation
    for name, value in ({"num_reference": 200} | changes).items():
        setattr(config, name, value)
    return config


def pictures(count: int, seed: int, contrast: int = 255) -> np.ndarray:
    """Smooth random pictures, so that features vary."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 6, 6, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    return (fine * contrast).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def balanced(count: int) -> np.ndarray:
    return np.repeat(np.arange(NUM_CLASSES), count // NUM_CLASSES)


def statistics(features: np.ndarray) -> Statistics:
    return Statistics(
        mu=features.mean(0), sigma=np.cov(features, rowvar=False), count=len(features)
    )


def gaussian(dim: int, seed: int) -> Statistics:
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(dim, dim)) / dim**0.5
    return Statistics(mu=generator.normal(size=dim), sigma=root @ root.T, count=1000)


def write_reference(
    path: Path, stats: Statistics, features: np.ndarray, config: EvaluationConfig, **changes: Any
) -> None:
    arrays = {"mu": stats.mu, "sigma": stats.sigma, "features": features}
    arrays["radii"] = radii(torch.from_numpy(features), config.neighbours).numpy()
    arrays |= {name: changes.pop(name) for name in tuple(arrays) if name in changes}
    np.savez(path / FILE, **{name: value for name, value in arrays.items() if value is not None})
    index = {
        "sha256": sha256(path / FILE),
        "computed_on": "pictures",
        "num_images": stats.count,
        "num_reference": config.num_reference,
        "neighbours": config.neighbours,
        "seed": config.seed,
        "image_size": 32,
        "channels": 1,
        "num_classes": NUM_CLASSES,
        "extractor": config.extractor,
        "extractor_sha256": config.weights_sha256,
    }
    write_json(path / "index.json", index | changes)


def write_samples(sampling: SampleStage) -> None:
    """A made-up dataset and the samples of one evaluation, in the current folder."""
    folder = result_folder(sampling.scale, "dataset")
    folder.mkdir(parents=True)
    for split, count in (("train", 400), ("test", 200)):
        np.save(folder / f"{split}_images.npy", pictures(count, seed=count))
        np.save(folder / f"{split}_labels.npy", balanced(count))
    files = sorted(folder.iterdir())
    sizes = {"image_size": 32, "channels": 1, "num_classes": 10, "num_train": 400, "num_test": 200}
    index = {"name": "made-up", "sha256": {path.name: sha256(path) for path in files}}
    write_json(folder / "index.json", index | sizes)
    folder = result_folder(sampling.scale, "sample", sampling.key)
    folder.mkdir(parents=True)
    np.save(folder / "samples.npy", pictures(300, seed=2, contrast=200))
    np.save(folder / "labels.npy", balanced(300))
    made = {"config_sha256": config_hash(sampling), "weights": "ema", "rounding": "round"}
    write_json(folder / "metrics.json", made | {"dtype": "float32"})
