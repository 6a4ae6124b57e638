"""Linear maps that are fast on every CPU."""

import os
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nextbasis.support.provenance import processor


class Linear(nn.Linear):
    """torch's linear layer, computed by `linear`."""

    def forward(self, input: Float[Tensor, "*b k"]) -> Float[Tensor, "*b m"]:
        """Apply to the last axis."""
        return linear(input, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*b k"], weight: Float[Tensor, "m k"], bias: Float[Tensor, " m"] | None
) -> Float[Tensor, "*b m"]:
    """x W^T + b.

    In single precision on CPUs torch multiplies with MKL. It leaves half of an AMD processor's
    vector width idle, and more of any processor's where it is held to the instructions that all
    have in common. oneDNN, which torch uses for half precision, does neither. On a processor of
    Intel's MKL is some ten per cent ahead if it is not held, and is used there.
    """
    if not _suits_onednn(x):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Product.apply(x, weight, bias)
    return _multiply(x, weight, bias)


def _suits_onednn(x: Tensor) -> bool:
    """Whether to bypass torch's product; a compiler makes its own choice."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not _mkl_is_ahead()
    )


@cache
def _mkl_is_ahead() -> bool:
    """Whether this is a processor of Intel's whose MKL may use all instructions."""
    return "MKL_CBWR" not in os.environ and "Intel" in processor()


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Product(torch.autograd.Function):
    """The product and its derivatives, all by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Only what is asked for."""
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (
            _multiply(gradient, weight.t()) if needs_x else None,
            _multiply(rows.t(), x.reshape(-1, x.shape[-1]).t()) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )
