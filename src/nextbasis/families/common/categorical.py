"""CategoricalHead: the distribution of one token id given z; how an id is drawn from it."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from nextbasis.families.common.linear import Linear


class CategoricalHead(Linear):
    """A linear map to the logits of the codebook's entries."""

    def __init__(self, width: int, codebook_size: int, bias: bool = True) -> None:
        """The output is not tied to the input embedding."""
        super().__init__(width, codebook_size, bias)

    def forward(self, input: Float[Tensor, "*b d"]) -> Float[Tensor, "*b v"]:
        """Logits, float32 under autocast too, since guidance and softmax magnify their rounding."""
        return super().forward(input).float()

    def loss(
        self, z: Float[Tensor, "b n d"], ids: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, ""]]:
        """Cross-entropy of each token in nats, and the share of tokens guessed right."""
        logits = self(z)
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none")
        return loss.view_as(ids), (logits.argmax(-1) == ids).float().mean()


def power_cosine_guidance(guidance: float, power: float, step: int, num_steps: int) -> float:
    """Guidance that grows from 1 to `guidance` as a power-cosine of the step (RAR).

    power = 0 is constant guidance.
    """
    return 1 + (guidance - 1) * 0.5 * (1 - math.cos(math.pi * (step / num_steps) ** power))


def cumulated(x: Float[Tensor, "*b v"]) -> Float[Tensor, "*b v"]:
    """Cumulative sums along the last axis.

    On GPUs they are made of log2(v) shifted sums: torch's own are not deterministic there.
    """
    if x.device.type == "cpu":
        return x.cumsum(-1)
    shift = 1
    while shift < x.shape[-1]:
        x = x + F.pad(x[..., :-shift], (shift, 0))
        shift *= 2
    return x


def filtered(
    logits: Float[Tensor, "*b v"], top_k: int = 0, top_p: float = 1.0
) -> Float[Tensor, "*b v"]:
    """Logits without the unlikely: -inf below the k largest, and below the nucleus.

    The nucleus is the fewest likeliest ids that together have a probability above `top_p`, of what
    `top_k` left (Holtzman et al. 2020). top_k = 0 and top_p = 1 keep everything; ties are kept.
    """
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        probability, order = torch.softmax(logits, -1).sort(-1, descending=True)
        before = cumulated(probability).roll(1, -1)
        before[..., 0] = 0
        unlikely = torch.empty_like(before, dtype=torch.bool).scatter_(-1, order, before > top_p)
        logits = logits.masked_fill(unlikely, -torch.inf)
    return logits


def draw(
    logits: Float[Tensor, "b v"], temperature: float, uniform: Float[Tensor, " b"]
) -> Int[Tensor, " b"]:
    """One id per row by inverting the distribution function at `uniform` in [0, 1)."""
    probability = torch.softmax(logits / temperature, -1)
    cumulative = cumulated(probability.double())
    target = uniform.double()[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
