"""Arithmetic of tensors that torch alone would give other last bits on other processors."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def root(x: "Tensor") -> "Tensor":
    """The square root of every element of a tensor of floating-point numbers; NaN below zero.

    torch gives square roots of tensors to MKL, whose last bit rests on the processor's table of
    approximate reciprocal roots. This one is a reciprocal of a reciprocal root, both of which torch
    computes by instructions that IEEE 754 prescribes; it is off by one unit in the last place at
    most.
    """
    return x.rsqrt().reciprocal()


def distances(x: "Tensor", y: "Tensor") -> "Tensor":
    """Euclidean distances of rows x (n, d) from rows y (m, d), as (n, m).

    In place of torch.cdist, which takes MKL's square roots.
    """
    product = (x @ y.mT).mul_(-2)
    product += (x * x).sum(1, keepdim=True)
    product += (y * y).sum(1)
    return root(product.clamp_(min=0))
