"""Small parts: feed-forward networks, norms, time embedding, adaptive modulation."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.families.common.attention import Attention
from nextbasis.families.common.dropout import Dropout
from nextbasis.families.common.linear import Linear

NORM_EPS = 1e-6


def init_xavier(module: nn.Module) -> None:
    """Xavier weights and zero biases for every linear layer inside."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)


def init_normal(module: nn.Module) -> None:
    """Normal(0.02) weights and zero biases for every linear layer inside."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)


class Modulation(nn.Sequential):
    """SiLU and a linear map from a condition to shifts, scales and gates."""

    def __init__(self, width: int, parts: int) -> None:
        """`parts` vectors of the condition's width."""
        super().__init__(nn.SiLU(), Linear(width, parts * width))

    @torch.no_grad()
    def zero_(self) -> None:
        """Start as no modulation at all."""
        for parameter in self.parameters():
            parameter.zero_()


class MLP(nn.Module):
    """Linear, GELU, linear."""

    def __init__(
        self, width: int, hidden: int, dropout: float = 0.0, approximate: bool = False
    ) -> None:
        """`dropout` acts after the activation and the output; `approximate`: GELU's by tanh."""
        super().__init__()
        self.approximate = "tanh" if approximate else "none"
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)
        self.drop = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Apply to the last axis."""
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x), approximate=self.approximate))))


class GEGLU(nn.Module):
    """Gated feed-forward network with a GELU gate."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        """`dropout` acts after the gate and after the output."""
        super().__init__()
        self.fc1_g = Linear(width, hidden)
        self.fc1_x = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)
        self.drop = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Apply to the last axis."""
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1_g(x)) * self.fc1_x(x))))


class Block(nn.Module):
    """Pre-norm transformer block without conditioning (ViT)."""

    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float = 0.0) -> None:
        """`hidden` is the width inside the MLP."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, num_heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, hidden, dropout)

    def forward(
        self, x: Float[Tensor, "b n d"], queries: Int[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Every token looks at every token; `queries` lists the rows to return, None means all."""
        mixed = self.attn(self.norm1(x), queries=queries)
        if queries is not None:
            x = x.gather(1, queries[..., None].expand(-1, -1, x.shape[-1]))
        x = x + mixed
        return x + self.mlp(self.norm2(x))


class TimeEmbedding(nn.Module):
    """Sinusoid of a time, then a two-layer network."""

    def __init__(self, width: int, num_frequencies: int = 256) -> None:
        """`num_frequencies` counts cosines and sines together."""
        super().__init__()
        self.num_frequencies = num_frequencies
        self.mlp = nn.Sequential(Linear(num_frequencies, width), nn.SiLU(), Linear(width, width))

    def init_normal(self) -> None:
        """Normal(0.02) weights and zero biases."""
        init_normal(self)

    def forward(self, time: Float[Tensor, " *b"]) -> Float[Tensor, "*b d"]:
        """Embed times in the unit of a model: most count thousandths, SiT from 0 to 1."""
        return self.mlp(sinusoid(time, self.num_frequencies))


def sinusoid(time: Float[Tensor, " *b"], size: int) -> Float[Tensor, "*b size"]:
    """Cosines then sines of time at frequencies 10000^(-i / half), i < half (guided-diffusion)."""
    half = size // 2
    steps = torch.arange(half, dtype=torch.float32, device=time.device)
    angle = time[..., None] * torch.exp(-math.log(10000.0) * steps / half)
    return torch.cat((angle.cos(), angle.sin()), -1)


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x (1 + scale) + shift: adaptive layer norm's second half (DiT)."""
    return torch.addcmul(shift, x, 1 + scale)
