"""Bases that no method is: controls of what any rotation, or shrinking alone, gives."""

import torch

from nextbasis.basis.definition import Basis, one_by_one, orthogonal
from nextbasis.basis.registry import basis
from nextbasis.basis.statistics import random_orthogonal


@basis("random", "orthogonal", method="random orthogonal")
def random(
    height: int, width: int, *, seed: int = 0, generator: torch.Generator | None = None
) -> Basis:
    """A uniformly random orthogonal matrix; `generator` goes before `seed`."""
    generator = generator or torch.Generator().manual_seed(seed)
    rows = random_orthogonal(height * width, generator)
    return orthogonal((height, width), rows, one_by_one(len(rows)))


@basis("scaled", "near-orthogonal", method="control: scale I")
def scaled(height: int, width: int, *, scale: float | int = 0.93) -> Basis:
    """scale I: the control of what shrinking alone gives (0.93: see config/basis/scaled.yaml).

    Raises: ValueError if the scale is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    identity = torch.eye(height * width, dtype=torch.float64)
    return Basis(
        kind="near-orthogonal",
        grid=(height, width),
        A=scale * identity,
        S=identity / scale,
        steps=one_by_one(len(identity)),
        has_order=False,
    )
