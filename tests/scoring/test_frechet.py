"""Fréchet distance and its standard error against scipy, closed forms and repeated sampling."""

import numpy as np
import pytest
import scipy.linalg
import torch

from nextbasis.scoring.frechet import frechet_distance, pooled_deviation, standard_error
from nextbasis.scoring.statistics import RunningStatistics, Statistics
from scoring import gaussian, statistics


def test_streaming_statistics_equal_those_of_all_rows_at_once() -> None:
    features = torch.from_numpy(np.random.default_rng(0).gamma(2.0, size=(500, 12)))
    running, other = RunningStatistics(12), RunningStatistics(12)
    for batch in features[:300].split(7):
        running.update(batch.float())
    other.update(features[300:].float())
    running.merge(other)
    seen = features.float().double().numpy()
    found = running.result()
    np.testing.assert_allclose(found.mu, seen.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.sigma, np.cov(seen, rowvar=False), rtol=0, atol=1e-12)
    assert found.count == 500
    with pytest.raises(ValueError, match="at least 2 images"):
        RunningStatistics(3).result()


def test_frechet_equals_scipys_matrix_root() -> None:
    one, two = gaussian(20, 1), gaussian(20, 2)
    root = scipy.linalg.sqrtm(one.sigma @ two.sigma).real
    wanted = ((one.mu - two.mu) ** 2).sum() + np.trace(one.sigma + two.sigma - 2 * root)
    assert frechet_distance(one, two) == pytest.approx(wanted, rel=1e-9)


def test_frechet_of_diagonal_gaussians_is_the_closed_form() -> None:
    a, b = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    one = Statistics(mu=np.array([0.0, 1.0, 2.0]), sigma=np.diag(a), count=10)
    two = Statistics(mu=np.array([1.0, 1.0, 0.0]), sigma=np.diag(b), count=10)
    wanted = 5 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(one, two) == pytest.approx(wanted, rel=1e-12)


def test_frechet_to_itself_is_zero_and_never_negative() -> None:
    one = gaussian(64, 3)
    assert 0 <= frechet_distance(one, one) < 1e-9


def test_frechet_survives_singular_covariances() -> None:
    features = np.random.default_rng(4).normal(size=(10, 30))
    singular, full = statistics(features), gaussian(30, 5)
    assert frechet_distance(full, singular) == pytest.approx(
        frechet_distance(singular, full), rel=1e-6
    )


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_standard_error_matches_the_spread_over_disjoint_subsets(shift: float) -> None:
    generator = np.random.default_rng(6)
    dim, size, subsets = 16, 1000, 200
    labels = np.repeat(np.arange(4), size // 4)
    means = generator.normal(size=(4, dim))
    root = generator.normal(size=(dim, dim)) / 4
    reference = gaussian(dim, 7)
    reference.mu = reference.mu + shift
    distances, errors = [], []
    for _ in range(subsets):
        features = means[labels] + generator.normal(size=(size, dim)) @ root
        found = statistics(features)
        distances.append(frechet_distance(found, reference))
        errors.append(standard_error(features, labels, found, reference))
    # 200 subsets know their own spread to 5 %.
    assert 0.9 < np.mean(errors) / np.std(distances, ddof=1) < 1.15


def test_standard_error_is_the_derivative_of_the_distance() -> None:
    """Moving weight to one image changes the distance by its influence (numerically)."""
    generator = np.random.default_rng(8)
    features, reference, step = generator.normal(size=(50, 4)), gaussian(4, 9), 1e-6
    base = np.full(50, 1 / 50)

    def distance(weights: np.ndarray) -> float:
        mu = weights @ features
        sigma = (features - mu).T @ (weights[:, None] * (features - mu))
        return frechet_distance(Statistics(mu=mu, sigma=sigma, count=50), reference)

    influence = np.array(
        [
            (distance((1 - step) * base + step * row) - distance((1 + step) * base - step * row))
            / (2 * step)
            for row in np.eye(50)
        ]
    )
    labels = np.zeros(50, dtype=np.int64)
    mu = features.mean(0)
    plain = Statistics(mu=mu, sigma=(features - mu).T @ (features - mu) / 50, count=50)
    found = standard_error(features, labels, plain, reference)
    assert found == pytest.approx(pooled_deviation(influence, labels) / 50**0.5, rel=1e-5)


def test_pooled_deviation_ignores_differences_between_classes() -> None:
    values = np.array([0.0, 2.0, 100.0, 102.0])
    assert pooled_deviation(values, np.array([0, 0, 1, 1])) == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match="at least 2 images of some class"):
        pooled_deviation(values, np.arange(4))
