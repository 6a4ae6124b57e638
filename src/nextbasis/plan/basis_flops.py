"""How many FLOPs a basis adds to a training step, counted from its config.

As in `flops`, those of products, two for a multiplication and an addition. Some are done for every
image, some once a step whatever its batch. A projection that needs singular values costs more; how
many do, no config tells.
"""

from dataclasses import dataclass
from typing import Any

from nextbasis.config import BasisConfig
from nextbasis.families import find
from nextbasis.families.common.spec import TokenSpec

PREFIX_ERRORS = ("r0", "r0_inverse", "r2")  # objectives that need A as a matrix


@dataclass(frozen=True)
class Cost:
    """FLOPs of one operation, forward and backward."""

    image: float = 0.0  # for each image
    step: float = 0.0  # once, whatever the batch

    def at(self, batch: int) -> float:
        """FLOPs of a step on this many images."""
        return batch * self.image + self.step


def training(config: BasisConfig, model: Any, spec: TokenSpec, batch: int) -> float:
    """FLOPs per image of everything that A adds to a step of this many images on one device."""
    if not find(model.family).has_basis:
        return 0.0
    return sum(cost.at(batch) for cost in costs(config, model, spec).values()) / batch


def costs(config: BasisConfig, model: Any, spec: TokenSpec) -> dict[str, Cost]:
    """By operation: y = A x, the objective's own terms, the regulariser, the certificate."""
    there, back = _apply(config, model, spec, spec.channels)
    if not config.learned:
        return {"apply": Cost(image=there)}
    cubes = sum(count * size**3 for count, size in factors(config, model, spec))
    # F^T F, and what its two factors' gradients take.
    regulariser = Cost(step=6.0 * cubes)
    # F^T F, and the two Cholesky factors that are needed where bounds of it decide nothing.
    certificate = Cost(step=8.0 / 3.0 * cubes if config.projection != "none" else 0.0)
    return {
        "apply": Cost(image=there + back),
        "objective": _objective(config, model, spec),
        "regulariser": regulariser,
        "certificate": certificate,
    }


def factors(config: BasisConfig, model: Any, spec: TokenSpec) -> list[tuple[int, int]]:
    """How many square matrices of which size are kept near orthogonal."""
    p, q = layout(model, spec)
    if config.structure == "dense":
        return [(1, p * q)]
    if config.structure == "householder":
        return []
    return [(1, p), (1, q)] if config.structure == "kronecker" else [(p, q)]


def layout(model: Any, spec: TokenSpec) -> tuple[int, int]:
    """Two factors of the number of tokens, which a structured A takes apart."""
    return find(model.family).part("cost").layout(model, spec)


def _apply(config: BasisConfig, model: Any, spec: TokenSpec, channels: int) -> tuple[float, float]:
    """y = A x of one image and the gradient of A; tokens need none."""
    (p, q), n = layout(model, spec), spec.num_tokens
    if config.structure == "kronecker":
        return 2.0 * n * channels * (p + q), 2.0 * n * channels * (p + 2 * q)
    if config.structure == "householder":
        # Inner and outer product of each reflection; none but the first needs x's gradient too.
        reflection = 4.0 * n * channels
        return config.reflections * reflection, (2 * config.reflections - 1) * reflection
    row = q if config.structure == "blocks" else n
    products = 2.0 * (spec.num_rows or n) * row * channels
    return products, products


def _objective(config: BasisConfig, model: Any, spec: TokenSpec) -> Cost:
    """With decoder D: D x, (K o D^T D) yhat, and D^T D once (objective.prefix_error)."""
    n, residual = spec.num_tokens, config.objective in PREFIX_ERRORS
    step = 0.0
    if config.structure == "householder":  # A as a matrix is A I
        there, back = _apply(config, model, spec, n)
        step += there + residual * back
    if not residual:
        return Cost(step=step)
    if config.objective == "r0_inverse":
        step += 2.0 * n**3 + 4.0 * n**3  # A^-1, and the gradient of A
    levels = find(model.family).part("cost").noise_levels(model)
    image = levels * 2.0 * n**2 * spec.channels * (2 + 3)
    return Cost(image=image, step=step + 6.0 * n**3)
