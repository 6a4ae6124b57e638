"""DiffusionHead: the distribution of one continuous token given z (MAR, section 3).

A small adaptive-norm MLP predicts the noise and the variance of a denoising step; tokens are
independent given their z. x is a noisy token, c its channels, r rows (any batch of tokens).

Under autocast the stream of the residual blocks and the final layer stay in single precision: the
first denoising step multiplies an error of the predicted noise by hundreds.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.families.common.execution import precision
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.parts import (
    NORM_EPS,
    Modulation,
    TimeEmbedding,
    init_xavier,
    modulate,
)
from nextbasis.families.common.schedule import NUM_STEPS, Schedule, variational_bound


class ResidualBlock(nn.Module):
    """A gated two-layer MLP whose norm is modulated by the condition."""

    def __init__(self, width: int) -> None:
        """Width stays the same throughout."""
        super().__init__()
        self.in_ln = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(Linear(width, width), nn.SiLU(), Linear(width, width))
        self.adaLN_modulation = Modulation(width, 3)

    def forward(self, x: Float[Tensor, "*r w"], y: Float[Tensor, "*r w"]) -> Float[Tensor, "*r w"]:
        """x + gate * mlp(modulated norm of x), given y after its SiLU."""
        shift, scale, gate = self.adaLN_modulation[1](y).chunk(3, -1)
        return torch.addcmul(x, gate, self.mlp(modulate(self.in_ln(x), scale, shift)))


class FinalLayer(nn.Module):
    """Modulated norm without weights, then a linear map to noise and variance."""

    def __init__(self, width: int, channels: int) -> None:
        """`channels` counts the outputs."""
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.linear = Linear(width, channels)
        self.adaLN_modulation = Modulation(width, 2)

    def forward(
        self, x: Float[Tensor, "*r w"], y: Float[Tensor, "*#r w"]
    ) -> Float[Tensor, "*r c2"]:
        """Map to the outputs, given y after its SiLU."""
        shift, scale = self.adaLN_modulation[1](y).chunk(2, -1)
        return self.linear(modulate(self.norm_final(x), scale, shift))


class DiffusionHead(nn.Module):
    """p(token | z) by denoising diffusion; `loss` trains it, heads.ancestral draws from it."""

    def __init__(self, channels: int, z_width: int, width: int, depth: int) -> None:
        """`channels` is the token's, `depth` counts residual blocks."""
        super().__init__()
        self.channels = channels
        self.time_embed = TimeEmbedding(width)
        self.cond_embed = Linear(z_width, width)
        self.input_proj = Linear(channels, width)
        self.res_blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.final_layer = FinalLayer(width, 2 * channels)
        self.schedule = Schedule()
        self._init_weights()

    def _init_weights(self) -> None:
        """Xavier everywhere; time embedding normal(0.02); modulations and output zero."""
        init_xavier(self)
        self.time_embed.init_normal()
        for module in self.modules():
            if isinstance(module, Modulation):
                module.zero_()
        nn.init.zeros_(self.final_layer.linear.weight)

    def net(
        self, x: Float[Tensor, "*r c"], y: Float[Tensor, "*r w"]
    ) -> tuple[Float[Tensor, "*r c"], Float[Tensor, "*r c"]]:
        """Predicted noise and variance position v, given y = time_embed + cond_embed."""
        with precision("float32", x.device):
            h = self.input_proj(x)
        y = F.silu(y)
        for block in self.res_blocks:
            h = block(h, y)
        with precision("float32", x.device):
            eps, v = self.final_layer(h, y.to(x.dtype)).chunk(2, -1)
        return eps, v

    def loss(
        self,
        x0: Float[Tensor, "r c"],
        z: Float[Tensor, "r d"],
        step: Int[Tensor, "k r"],
        noise: Float[Tensor, "k r c"],
    ) -> tuple[Float[Tensor, "k r"], Float[Tensor, "k r c"]]:
        """Loss of each row at k noise levels, and its error noise - predicted noise.

        Mean squared error of the noise plus the variational bound in bits, whose gradient reaches
        only the variance (Nichol & Dhariwal 2021, L_hybrid with weight 1 as in MAR).
        """
        x_t = self.schedule.add_noise(x0, step, noise)
        times = self.time_embed(torch.arange(NUM_STEPS, device=z.device).float())
        eps, v = self.net(x_t, F.embedding(step, times) + self.cond_embed(z))
        bound = variational_bound(self.schedule, x0, x_t, step, eps.detach(), v)
        return (noise - eps).square().mean(-1) + bound, noise - eps
