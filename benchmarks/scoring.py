"""Scores beside torch-fidelity's public function on the same images: FID, IS, precision, recall."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch_fidelity
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from benchmarks.measure import Timing, measure
from nextbasis.config import EvaluationConfig, compose
from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.fidelity import register
from nextbasis.scoring.frechet import frechet_distance
from nextbasis.scoring.quality import precision_and_recall, radii
from nextbasis.scoring.reference import Reference
from nextbasis.scoring.rules import INCEPTION, split
from nextbasis.support.files import sha256

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class ScoringRow:
    """One line: `images` are scored against as many real ones of `size` pixels a side."""

    key: str
    extractor: str
    images: int
    size: int
    channels: int
    stored: bool  # the reference is a file, as in this package; else it is computed too
    target: float | None  # a least ratio to torch-fidelity's CPU seconds

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.extractor}, " + ("stored reference" if self.stored else "both sets")


# torch-fidelity 0.4 has no file of statistics: it computes the features of both sets every time.
# Without a stored reference it runs the very same network as this package for fashion128, which
# takes most of the time, so no ratio is demanded there.
_FASHION: dict[str, Any] = {"extractor": "fashion128", "images": 10_000, "size": 32, "channels": 1}
_INCEPTION: dict[str, Any] = {"extractor": INCEPTION, "images": 96, "size": 256, "channels": 3}
SCORING = [
    ScoringRow(key="score-fashion", stored=True, target=2.0, **_FASHION),
    ScoringRow(key="score-fashion-both", stored=False, target=None, **_FASHION),
    ScoringRow(key="score-inception", stored=True, target=1.4, **_INCEPTION),
    ScoringRow(key="score-inception-both", stored=False, target=1.4, **_INCEPTION),
]


class Images(Dataset):
    """Images as torch-fidelity reads them."""

    def __init__(self, images: np.ndarray) -> None:
        """Take uint8 images (n, h, w, c)."""
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        """One image."""
        return self.images[index]


def random_inception(path: Path) -> Path:
    """Write weights of Inception as they are initialised, in the layout of the real file."""
    torch.manual_seed(0)
    with (
        patch.object(torch, "load", lambda *_, **__: {}),
        patch.object(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None),
    ):
        network = FeatureExtractorInceptionV3(
            INCEPTION, ["2048"], feature_extractor_weights_path=""
        )
    torch.save(network.state_dict(), path)
    return path


def pictures(row: ScoringRow, seed: int, white: int) -> np.ndarray:
    """Smooth random pictures from black to `white`, made in parts to save memory."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(row.images, row.channels, 6, 6, generator=generator)
    parts = [
        (
            torch.nn.functional.interpolate(part, (row.size, row.size), mode="bilinear") * white
        ).byte()
        for part in coarse.split(500)
    ]
    return torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy()


def evaluation(row: ScoringRow, weights: Path) -> EvaluationConfig:
    """The cpu scale's evaluation; for Inception with random weights and settings of its own."""
    config = compose("reference", ["scale=cpu", "evaluation=cpu"]).evaluation
    if row.extractor != INCEPTION:
        return config
    return replace(
        config,
        protocol="tiny-plumbing",
        extractor=INCEPTION,
        weights=str(random_inception(weights)),
        weights_sha256=sha256(weights),
        is_splits=2,
    )


def ours(
    row: ScoringRow, config: EvaluationConfig, made: np.ndarray, real: np.ndarray
) -> Callable[[], dict[str, float]]:
    """This package's FID, IS, precision and recall."""
    extractor = load_extractor(config, torch.device("cpu"))

    def reference() -> Reference:
        found = extract(real, extractor, BATCH, "real")
        reach = radii(found.pooled, config.neighbours)
        return Reference(
            statistics=found.statistics,
            features=found.pooled,
            radii=reach,
            spatial=None,
            sha256="",
            index={},
        )

    stored = reference() if row.stored else None

    def call() -> dict[str, float]:
        part = split(len(made), config, from_file=False)
        found, against = extract(made, extractor, BATCH, "made", part), stored or reference()
        assert against.features is not None and against.radii is not None
        precision, recall = precision_and_recall(
            found.pooled, radii(found.pooled, config.neighbours), against.features, against.radii
        )
        return {
            "fid": frechet_distance(found.statistics, against.statistics),
            "is_mean": found.inception.result()[0],
            "precision": precision,
            "recall": recall,
        }

    return call


def theirs(
    config: EvaluationConfig, made: np.ndarray, real: np.ndarray
) -> Callable[[], dict[str, float]]:
    """torch-fidelity's public function, with the settings that are fastest on a CPU."""
    register()
    one, two = Images(made), Images(real)

    def call() -> dict[str, float]:
        return torch_fidelity.calculate_metrics(
            input1=one,
            input2=two,
            feature_extractor=config.extractor,
            feature_extractor_weights_path=config.weights,
            fid=True,
            isc=True,
            prc=True,
            isc_splits=config.is_splits,
            prc_neighborhood=config.neighbours,
            rng_seed=config.seed,
            batch_size=BATCH,
            cuda=False,
            cache=False,
            save_cpu_ram=True,
            verbose=False,
        )

    return call


def measure_row(row: ScoringRow, repeats: int) -> tuple[Timing, Timing]:
    """Times of this package and of torch-fidelity, whose results must agree.

    Raises: ValueError if FID, IS, precision or recall differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = evaluation(row, Path(folder) / "random.pth")
        made, real = pictures(row, 1, white=200), pictures(row, 2, white=255)
        mine, other = ours(row, config, made, real), theirs(config, made, real)
        check_equal(mine(), other())
        return measure(mine, repeats, warmups=0), measure(other, repeats, warmups=0)


def check_equal(ours: dict[str, float], theirs: dict[str, float]) -> None:
    """Check that both computed the same: FID to 1e-4, the rest to 1e-6.

    Raises: ValueError naming the score.
    """
    for mine, other, tolerance in (
        ("fid", "frechet_inception_distance", 1e-4),
        ("is_mean", "inception_score_mean", 1e-6),
        ("precision", "precision", 1e-6),
        ("recall", "recall", 1e-6),
    ):
        if abs(ours[mine] - theirs[other]) > tolerance * max(abs(theirs[other]), 1e-3):
            raise ValueError(f"{mine}: {ours[mine]} here, {theirs[other]} from torch-fidelity")
