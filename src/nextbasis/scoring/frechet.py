"""Fréchet distance between two Gaussians, and its standard error from one set of samples.

FID = |mu - mu_ref|^2 + tr S + tr S_ref - 2 tr (R S R)^(1/2), with R = S_ref^(1/2)
(Dowson & Landau 1982; Heusel et al. 2017).
"""

import numpy as np
from jaxtyping import Float, Int

from nextbasis.scoring.statistics import Statistics

BLOCK = 4096  # images whose influence is computed at once
RELATIVE_RANK = 1e-12  # eigenvalues below this share of the largest count as zero


def frechet_distance(sample: Statistics, reference: Statistics) -> float:
    """Distance between the Gaussians, never below zero.

    The eigenvalues of S S_ref are those of L' S L with S_ref = L L', which is symmetric: one
    `eigvalsh` gives the trace of the root. Where S_ref has no Cholesky factor, its root serves.
    """
    try:
        factor = np.linalg.cholesky(reference.sigma)
    except np.linalg.LinAlgError:
        factor = _root(reference.sigma)
    values = np.linalg.eigvalsh(factor.T @ sample.sigma @ factor)
    root_trace = np.sqrt(values.clip(min=0)).sum()
    difference = sample.mu - reference.mu
    traces = np.trace(sample.sigma) + np.trace(reference.sigma)
    return max(0.0, float(difference @ difference + traces - 2 * root_trace))


def standard_error(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    sample: Statistics,
    reference: Statistics,
) -> float:
    """Standard error of the Fréchet distance over new samples with the same class counts.

    Delta method. Since d tr M^(1/2) = tr(M^(-1/2) dM) / 2, the distance changes with S by
    I - T, where T = R (R S R)^(-1/2) R, and with mu by 2 (mu - mu_ref). One image x thus moves it
    by influence / n, and images vary around the mean of their class only, because the number of
    images of each class is fixed. Over-estimates near zero, where the first order vanishes.
    """
    moved = influences(features, sample, reference)
    return pooled_deviation(moved, labels) / float(np.sqrt(len(moved)))


def influences(
    features: Float[np.ndarray, "n d"], sample: Statistics, reference: Statistics
) -> Float[np.ndarray, " n"]:
    """How far each image moves the distance, times the number of images."""
    slope = np.eye(len(sample.mu)) - _transport(sample.sigma, reference.sigma)
    offset, level = 2 * (sample.mu - reference.mu), np.trace(slope @ sample.sigma)
    parts = []
    for start in range(0, len(features), BLOCK):
        centred = features[start : start + BLOCK].astype(np.float64) - sample.mu
        parts.append(centred @ offset + np.einsum("nd,nd->n", centred @ slope, centred) - level)
    return np.concatenate(parts)


def paired_error(
    one: Float[np.ndarray, " n"], two: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> float:
    """Standard error of the difference of two Fréchet distances over new noise.

    `one` and `two` are the influences of images made from the same labels and the same noise:
    what moves both alike cancels. Delta method, as in `standard_error`.
    """
    return pooled_deviation(two - one, labels) / float(np.sqrt(len(one)))


def extrapolate(
    distance: float,
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    reference: Statistics,
) -> float:
    """2 F_N - F_(N/2), which has most of the bias removed (it falls as 1/N) and may be negative.

    F_(N/2) is the mean over two halves, each with half of every class.
    """
    order = np.argsort(labels, kind="stable")
    halves = [
        frechet_distance(
            Statistics(mu=half.mean(0), sigma=np.cov(half, rowvar=False), count=len(half)),
            reference,
        )
        for half in (features[order[start::2]].astype(np.float64) for start in (0, 1))
    ]
    return 2 * distance - sum(halves) / 2


def pooled_deviation(values: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    """Standard deviation within classes, pooled over them.

    Raises: ValueError if every class has one value only.
    """
    _, member, counts = np.unique(labels, return_inverse=True, return_counts=True)
    freedom = len(values) - len(counts)
    if freedom < 1:
        raise ValueError(
            f"a standard error needs at least 2 images of some class, got {len(values)} images "
            f"of {len(counts)} classes"
        )
    means = np.bincount(member, weights=values) / counts
    return float(np.sqrt(((values - means[member]) ** 2).sum() / freedom))


def _root(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def _transport(
    sigma: Float[np.ndarray, "d d"], reference: Float[np.ndarray, "d d"]
) -> Float[np.ndarray, "d d"]:
    root = _root(reference)
    values, vectors = np.linalg.eigh(root @ sigma @ root)
    kept = values > RELATIVE_RANK * max(values.max(), 0.0)
    inverse_root = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    half = root @ (vectors * inverse_root) @ vectors.T @ root
    return (half + half.T) / 2
