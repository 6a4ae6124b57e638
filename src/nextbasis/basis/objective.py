"""What trains A: L_BAR, the residual objective of the paper and the readings of it.

BAR asks the first basis vectors to recover as much of the image as they can (its residual
objective). With M_k keeping the tokens of the first k steps and zeroing the others,

    R0 = w sum_k |x - A^T M_k yhat|^2,    w the signal-to-noise ratio of the noisy tokens,

which for an orthogonal A splits into a prediction and an energy part (docs/basis.md, P1),

    sum_l c_l e_l^2  +  w sum_l (K - c_l) y_l^2,    c_l the prefixes that token l is in, of K,

where e is the error of the host's own target (noise or velocity): e = sqrt(w) (yhat - y).
The readings: r0 literal; r0_inverse with A^-1 for A^T; r1 the prediction part for the model, the
energy part alone for A; r2 is r0 with prefixes of whole steps; r3 the host's loss for the model,
the energy part alone for A (an online KLT); r4 the prediction part without energy, a negative
control that turns the order around. l_bar is the host's loss on y = A x, for both.

b samples, m tokens in the basis, n in the image, d channels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.config import BasisConfig
from nextbasis.support.arithmetic import root

# A of these learns from the energy part alone, so the host is shown a detached y.
ENERGY_ONLY = ("r1", "r3")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One step's tokens and what the host made of them."""

    x: Float[Tensor, "b n d"]
    y: Float[Tensor, "b m d"]
    error: Float[Tensor, "b m d"]  # of the host's target, zero at tokens that it was given
    snr: Float[Tensor, "b m"]  # w of every token's noise level


def total_loss(
    config: BasisConfig,
    host_loss: Float[Tensor, ""],
    seen: Seen,
    weight: Float[Tensor, "m n"],
    step_of: Int[Tensor, " m"],
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """The objective without the regulariser, and its parts for the curves.

    Prefixes end after every row, those of r2 after every step. Residual terms are scaled so that
    their prediction part is a weighted mean of the host's loss.
    """
    name, share = config.objective, config.residual_weight
    if name == "l_bar":
        return host_loss, {}
    steps = step_of if name == "r2" else torch.arange(len(step_of), device=step_of.device)
    counts = prefix_counts(steps)
    scale = 1 / (seen.y.shape[2] * counts.sum())
    if name in ("r0", "r0_inverse", "r2"):
        residual = scale * snr_residual(config, seen, weight, steps).mean()
        return torch.lerp(host_loss, residual, share), {"residual_loss": residual.detach()}
    prediction = scale * prediction_part(seen.error, counts).mean()
    if name == "r4":
        return torch.lerp(host_loss, prediction, share), {"residual_loss": prediction.detach()}
    energy = scale * energy_part(seen.y, counts).mean()
    value = torch.lerp(host_loss, prediction, share) if name == "r1" else host_loss
    return value + config.energy_weight * energy, {"energy_loss": energy.detach()}


def snr_residual(
    config: BasisConfig,
    seen: Seen,
    weight: Float[Tensor, "m n"],
    step_of: Int[Tensor, " m"],
) -> Float[Tensor, " b"]:
    """w sum_k |x - D M_k yhat|^2 with D = A^T or A^-1, exact for any A.

    w is the mean over the tokens of their (clipped) ratios, theirs all where they share a level.
    """
    ratios = seen.snr.clamp(max=config.snr_clip) if config.snr_clip else seen.snr
    w = ratios.mean(1)
    y_hat = seen.y + seen.error / root(w)[:, None, None]
    decoder = torch.linalg.inv(weight) if config.objective == "r0_inverse" else weight.T
    return w * prefix_error(seen.x, y_hat, decoder, step_of)


def prefix_counts(step_of: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
    """c_l: how many prefixes of whole steps row l is in; m - l + 1 if every row is a step."""
    return step_of.max() + 1 - step_of


def prediction_part(
    error: Float[Tensor, "b m d"], counts: Int[Tensor, " m"]
) -> Float[Tensor, " b"]:
    """sum_l c_l e_l^2: the part of the residual objective that the model can lower."""
    return (error.square().sum(2) * counts).sum(1)


def energy_part(y: Float[Tensor, "b m d"], counts: Int[Tensor, " m"]) -> Float[Tensor, " b"]:
    """sum_l (K - c_l) y_l^2: what the missing tokens leave out; its optimum is the KLT (P4)."""
    return (y.square().sum(2) * (counts.max() - counts)).sum(1)


def prefix_error(
    x: Float[Tensor, "b n d"],
    y_hat: Float[Tensor, "b m d"],
    decoder: Float[Tensor, "n m"],
    step_of: Int[Tensor, " m"],
) -> Float[Tensor, " b"]:
    """sum_k |x - D M_k yhat|^2 for each sample, exact for any decoder D, in O(m^2 d) (P2).

    Expanding the square, row l is in c_l prefixes and the pair (l, m) in min(c_l, c_m).
    """
    counts = prefix_counts(step_of)
    pairs = torch.minimum(counts[:, None], counts[None, :])
    projection = (y_hat * torch.einsum("nm,bnd->bmd", decoder, x)).sum(2)
    gram = torch.einsum("lm,bmd->bld", pairs * (decoder.T @ decoder), y_hat)
    return (
        counts.max() * x.square().sum((1, 2))
        - 2 * (projection * counts).sum(1)
        + (y_hat * gram).sum((1, 2))
    )
