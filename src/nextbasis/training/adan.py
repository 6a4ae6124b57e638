"""Adan: Adam that also looks at how gradients change (Xie et al. 2022, "Adan: Adaptive Nesterov
Momentum Algorithm for Faster Optimizing Deep Models", algorithm 1)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

STATE = ("mean", "difference", "square", "gradient")  # of every weight; the last one's own gradient


class Adan(torch.optim.Optimizer):
    """Moves weights by averages of gradients, of their changes, and of squares of both together.

    `betas` are what these averages keep of themselves in a step, as Adam's are; the paper's are
    what they give up. The weight decay divides: w <- w / (1 + lr decay).

    `found_inf`, as torch's fused optimisers have it, is 1 for a step that is to be left out: it
    then changes neither weights nor state, and the host does not wait for a GPU to know. Where
    weights are sharded, each process moves its shards.
    """

    found_inf: Tensor

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float, float],
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Weights, or groups of them that may have their own `lr` and `weight_decay`."""
        told = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, told)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of all weights that have a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._move(group, weights)

    def _move(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {name: torch.zeros_like(weight) for name in STATE}
        mean, difference, square, earlier = (
            [_own(self.state[weight][name]) for weight in weights] for name in STATE
        )
        taken = 1 - getattr(self, "found_inf", torch.zeros((), device=earlier[0].device))
        # Out of a saved state it comes on the CPU.
        step = taken + group["step"].to(taken.device) if "step" in group else taken
        group["step"] = step
        # A step that is left out sees the gradient before it again, of which nothing comes.
        gradients = [
            torch.where(taken > 0, _own(weight.grad), before)
            for weight, before in zip(weights, earlier, strict=True)
        ]
        changes = list(torch._foreach_sub(gradients, earlier))
        torch._foreach_mul_(changes, (step > 1).float())  # the first one has none before it
        torch._foreach_copy_(earlier, gradients)
        beta1, beta2, beta3 = group["betas"]
        _follow(mean, gradients, beta1, taken)
        _follow(difference, changes, beta2, taken)
        torch._foreach_mul_(changes, beta2)
        torch._foreach_add_(gradients, changes)  # where the gradient is heading
        torch._foreach_mul_(gradients, gradients)
        _follow(square, gradients, beta3, taken)
        sizes = torch._foreach_div(square, _bias(beta3, step))
        torch._foreach_rsqrt_(sizes)  # support.arithmetic says why not sqrt
        torch._foreach_reciprocal_(sizes)
        torch._foreach_add_(sizes, group["eps"])
        moves = torch._foreach_div(mean, _bias(beta1, step))
        torch._foreach_add_(moves, torch._foreach_mul(difference, beta2 / _bias(beta2, step)))
        torch._foreach_div_(moves, sizes)
        torch._foreach_mul_(moves, group["lr"] * taken)
        own = [_own(weight) for weight in weights]
        torch._foreach_sub_(own, moves)
        if group["weight_decay"]:
            torch._foreach_div_(own, 1 + group["lr"] * group["weight_decay"] * taken)


def _own(tensor: Tensor | None) -> Tensor:
    """This process's part of a tensor, in its memory: all of it where there are no shards."""
    assert tensor is not None
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _follow(averages: list[Tensor], values: list[Tensor], beta: float, taken: Tensor) -> None:
    """a <- beta a + (1 - beta) value in a step that is taken (1), a in one that is not (0)."""
    torch._foreach_mul_(averages, 1 - (1 - beta) * taken)
    torch._foreach_add_(averages, torch._foreach_mul(values, (1 - beta) * taken))


def _bias(beta: float, step: Tensor) -> Tensor:
    """The share of an average that is not its start at zero, after so many steps; 0 counts as 1."""
    return (1 - beta ** step.clamp(min=1).double()).float()
