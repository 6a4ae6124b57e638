"""Optimal autoregressive prediction of Gaussian tokens, in closed form (tests of docs/basis.md).

y = A x of one channel has the covariance C_y = A C A^T. Its Cholesky factor holds the errors of
the best predictions from clean earlier tokens, and by the chain rule their product is det C_y.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nextbasis.basis.projection import clamp


def moment(a: Tensor, c: Tensor) -> Tensor:
    """E[y y^T]."""
    return a @ c @ a.T


def errors(a: Tensor, c: Tensor) -> Tensor:
    """s_l = Var[y_l | y_<l] of every token."""
    return torch.linalg.cholesky(moment(a, c)).diagonal().square()


def regression(c_y: Tensor) -> Tensor:
    """The strictly lower P of E[y_l | y_<l] = (P y)_l."""
    factor = torch.linalg.cholesky(c_y)
    unit = factor / factor.diagonal()
    return torch.eye(len(c_y)).to(c_y) - torch.linalg.inv(unit)


def weights(n: int) -> Tensor:
    """N - l + 1: the prefixes that token l is in."""
    return torch.arange(n, 0, -1, dtype=torch.float64)


def noise_loss(a: Tensor, c: Tensor, ratio: float = 1.0) -> Tensor:
    """Least mean squared error of the noise, clean context: sum_l SNR s_l / (1 + SNR s_l)."""
    s = ratio * errors(a, c)
    return (s / (1 + s)).sum()


def velocity_loss(a: Tensor, c: Tensor, t: float = 0.5) -> Tensor:
    """Least mean squared error of the velocity: sum_l s_l / ((1 - t)^2 s_l + t^2)."""
    s = errors(a, c)
    return (s / ((1 - t) ** 2 * s + t**2)).sum()


def prediction_loss(a: Tensor, c: Tensor) -> Tensor:
    """The prediction part alone (r4), noise of unit variance on the token itself."""
    s = errors(a, c)
    return (weights(len(s)) * s / (1 + s)).sum()


def energy(a: Tensor, c: Tensor) -> Tensor:
    """The energy part: sum_l (l - 1) E y_l^2."""
    n = len(a)
    return ((n - weights(n)) * moment(a, c).diagonal()).sum()


def context_loss(a: Tensor, c: Tensor) -> Tensor:
    """r0 with predictions from clean context: sum_l (N - l + 1) s_l + (l - 1) v_l."""
    return (weights(len(a)) * errors(a, c)).sum() + energy(a, c)


def mean_place(a: Tensor, c: Tensor) -> float:
    """Where the energy is: the mean place of a token, 0 first, weighted by its energy."""
    v = moment(a, c).diagonal()
    return ((v * torch.arange(len(v))).sum() / v.sum()).item()


def descend(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    limits: tuple[float, float] | None = None,
    tangent: bool = False,
) -> Tensor:
    """Adam on A from `start`; singular values are clamped to the limits after every step.

    `tangent` leaves of the gradient only what turns an orthogonal A.
    """
    a = start.clone().requires_grad_()
    optim = torch.optim.Adam([a], lr=0.05)
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(loss(a), a)
        if tangent:
            turn = gradient @ a.detach().T
            gradient = (turn - turn.T) / 2 @ a.detach()
        a.grad = gradient
        optim.step()
        if limits:
            a.data = clamp(a.data[None], *limits)[0]
    return a.detach()


def parallel_loss(a: Tensor, c: Tensor, sizes: list[int]) -> float:
    """Nats a token lost by drawing the tokens of a step independently, given earlier steps."""
    factor = torch.linalg.cholesky(moment(a, c))
    start, lost = 0, 0.0
    for size in sizes:
        block = factor[start : start + size, start : start + size]  # of Cov[step | earlier]
        lost += (block.square().sum(1).log().sum() - block.diagonal().square().log().sum()).item()
        start += size
    return lost / (2 * len(c))
