"""Inception Score, precision and recall, by torch-fidelity's own functions."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

BLOCK = 2000  # rows of a block of distances; bounds memory at BLOCK x reference numbers


@dataclass(kw_only=True)
class Quality:
    """The scores that need more than mean and covariance."""

    is_mean: float
    is_std: float  # spread over the splits, not a standard error
    precision: float  # share of generated images inside the real ones' neighbourhoods
    recall: float  # share of real images inside the generated ones' neighbourhoods


def measure_quality(
    pooled: Float[Tensor, "n d"],
    logits: Float[Tensor, "n k"],
    reference: Float[Tensor, "m d"],
    *,
    splits: int,
    neighbours: int,
    seed: int,
) -> Quality:
    """IS of shuffled logits in `splits` parts; precision and recall against `reference`.

    Raises: ValueError naming the setting if there are too few images for it.
    """
    if len(logits) < splits:
        raise ValueError(
            f"evaluation.is_splits is {splits}: it needs as many images, got {len(logits)}"
        )
    smaller = min(len(pooled), len(reference))
    if smaller <= neighbours:
        raise ValueError(
            f"evaluation.neighbours is {neighbours}: it needs more than as many generated and "
            f"reference images, got {len(pooled)} and {len(reference)}"
        )
    score = isc_features_to_metric(logits, splits=splits, shuffle=True, rng_seed=seed)
    # Since 0.4.0 the generated images come first; before, and in MAR's fork, the real ones did.
    manifold = prc_features_to_metric(
        pooled,
        reference,
        prc_neighborhood=neighbours,
        prc_batch_size=BLOCK,
        save_cpu_ram=True,
        verbose=False,
    )
    return Quality(
        is_mean=score["inception_score_mean"],
        is_std=score["inception_score_std"],
        precision=manifold["precision"],
        recall=manifold["recall"],
    )
