"""Reference statistics, the bad anchor and reconstruction errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from nextbasis.scoring.anchor import blurred, fit_gaussian, sample_anchor
from nextbasis.scoring.reference import choose_subset, load_reference
from nextbasis.stages.reconstruct import distortion, pair_rows
from scoring import NUM_CLASSES, balanced, evaluation, gaussian, pictures, write_reference


def test_missing_reference_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`nextbasis reference` makes one"):
        load_reference(tmp_path, evaluation())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extractor_sha256": "0" * 64}, "extractor_sha256 = 0000"),
        ({"seed": 1}, "seed = 1, needed 2020"),
        ({"sha256": "1" * 64}, "sha256 = 1111"),
        ({"sigma": None}, "has no sigma"),
        ({"sigma": np.eye(3)}, "do not fit"),
        ({"mu": np.full(4, np.nan)}, "not finite"),
        ({"sigma": np.triu(np.ones((4, 4)))}, "not symmetric"),
        ({"sigma": -np.eye(4)}, "negative eigenvalue"),
        ({"num_classes": "10"}, "index.json: num_classes must be a whole number above 0, got '10'"),
        ({"num_classes": 0}, "num_classes must be a whole number above 0, got 0"),
        ({"num_classes": None}, "num_classes must be .* got None"),
        ({"image_size": "32"}, "image_size must be .* got '32'"),
        ({"channels": 1.0}, "channels must be .* got 1.0"),
    ],
)
def test_foreign_or_damaged_reference_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = evaluation()
    write_reference(tmp_path, gaussian(4, 0), np.zeros((200, 4)), config, **changes)
    with pytest.raises(ValueError, match=message):
        load_reference(tmp_path, config)


def test_subset_is_balanced_and_depends_on_the_seed_only() -> None:
    labels = np.random.default_rng(12).permutation(balanced(400))
    chosen = choose_subset(labels, NUM_CLASSES, 100, seed=5)
    assert np.bincount(labels[chosen]).tolist() == [10] * 10
    assert np.array_equal(chosen, choose_subset(labels, NUM_CLASSES, 100, seed=5))
    assert not np.array_equal(chosen, choose_subset(labels, NUM_CLASSES, 100, seed=6))
    assert len(set(chosen.tolist())) == 100 and (np.diff(chosen) > 0).all()
    for bad in (105, 1000):
        with pytest.raises(ValueError, match=f"num_reference must be a multiple.*got {bad}"):
            choose_subset(labels, NUM_CLASSES, bad, seed=5)


@pytest.mark.parametrize("count", [60, 30])
def test_anchor_has_the_mean_and_leading_covariance_of_the_pixels(count: int) -> None:
    generator = torch.Generator().manual_seed(13)
    pixels = torch.randn(count, 10, generator=generator) @ torch.randn(10, 40, generator=generator)
    mean, factors = fit_gaussian(pixels)
    covariance = np.cov(pixels.numpy(), rowvar=False)  # of rank 10, below the anchor's 24
    np.testing.assert_allclose((factors.T @ factors).numpy(), covariance, atol=1e-3)
    torch.testing.assert_close(mean, pixels.mean(0))


def test_anchor_is_balanced_and_seeded() -> None:
    images, labels = pictures(100, seed=14), balanced(100)
    made, classes = sample_anchor(images, labels, 3, seed=0)
    assert made.shape == (30, 32, 32, 1) and np.bincount(classes).tolist() == [3] * 10
    assert np.array_equal(made, sample_anchor(images, labels, 3, seed=0)[0])
    assert not np.array_equal(made, sample_anchor(images, labels, 3, seed=1)[0])


def test_distortion_is_the_error_of_all_pixels_together() -> None:
    images = np.zeros((2, 2, 2, 1), np.uint8)
    decoded = images.copy()
    decoded[0, 0, 0], decoded[1] = 255, 3
    mse = (255**2 + 4 * 9) / 8
    found = distortion(images, decoded)
    assert found == {"mse": pytest.approx(mse), "psnr": pytest.approx(10 * np.log10(255**2 / mse))}
    assert distortion(images, images) == {"mse": 0.0, "psnr": None}


def test_grid_pairs_each_row_with_its_reconstructions() -> None:
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    rows = pair_rows(images, images + 100).flatten().tolist()
    wanted = [*range(16), *range(100, 116), *range(16, 32), *range(116, 132)]
    assert rows == wanted
    assert pair_rows(images[:3], images[:3] + 100).flatten().tolist() == [0, 1, 2, 100, 101, 102]


@pytest.mark.parametrize("sigma", [0.5, 0.8])
def test_blurred_images_are_those_of_scipys_filter(sigma: float) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    wanted = gaussian_filter(images.astype(np.float64), sigma, axes=(1, 2), mode="mirror")
    assert np.abs(blurred(images, sigma, 2) - wanted).max() <= 0.51  # of rounding
