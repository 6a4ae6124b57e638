"""xAR: next-cell prediction by flow matching with noisy context (Ren et al. 2025, "Beyond
Next-Token: Next-X Prediction for Autoregressive Visual Generation").

The grid is cut into cells. In training every cell gets its own noise level and one block-causal
pass predicts all velocities, so a cell is predicted from noisy earlier cells. In sampling the
cells are denoised one after another, each given the clean ones before it through a KV cache.

b images, k cells of m tokens, n = k m tokens of d channels in cell-major order, w the width.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis import orders
from nextbasis.config import XARConfig, XARSamplerConfig
from nextbasis.heads import flow
from nextbasis.heads.loss import Loss
from nextbasis.layers.attention import Attention, KVCache, LayerCache, Rotation, grid_rotation
from nextbasis.layers.parts import (
    GEGLU,
    NORM_EPS,
    Modulation,
    TimeEmbedding,
    init_xavier,
    modulate,
)
from nextbasis.noise import ImageNoise


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step."""

    label_drop: Bool[Tensor, " b"]
    time: Float[Tensor, "b k"]
    noise: Float[Tensor, "b n d"]


class CellBlock(nn.Module):
    """Transformer block whose modulation is shared by the tokens of a cell."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        """The gated MLP has two thirds of the usual four-fold width."""
        super().__init__()
        self.attn = Attention(width, num_heads, dropout)
        self.mlp = GEGLU(width, int(width * 4 * 2 / 3.0), dropout)
        self.ada_lin = Modulation(width, 6)

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        condition: Float[Tensor, "b k w"],
        causal: int,
        rotation: Rotation,
        cache: LayerCache | None,
    ) -> Float[Tensor, "b n w"]:
        """Tokens of k cells in a row, `condition` one vector per cell; `causal` as in Attention."""
        parts = rearrange(self.ada_lin(condition), "b k (six w) -> six b k 1 w", six=6)
        gate1, gate2, scale1, scale2, shift1, shift2 = parts.unbind()
        num_cells = condition.shape[1]

        def per_cell(h: Tensor) -> Tensor:
            return rearrange(h, "b (k m) w -> b k m w", k=num_cells)

        h = modulate(per_cell(rms_norm(x)), scale1, shift1).flatten(1, 2)
        h = self.attn(h, causal=causal, rotation=rotation, cache=cache)
        x = x + (gate1 * per_cell(h)).flatten(1, 2)
        h = modulate(per_cell(rms_norm(x)), scale2, shift2).flatten(1, 2)
        return x + (gate2 * per_cell(self.mlp(h))).flatten(1, 2)


class XAR(nn.Module):
    """The block-causal transformer that predicts velocities."""

    host_order: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(
        self, config: XARConfig, grid: tuple[int, int], channels: int, num_classes: int
    ) -> None:
        """Tokens form a `grid` (height, width); cells_per_side must divide both."""
        super().__init__()
        self.config, self.channels, self.null_label = config, channels, num_classes
        self.num_tokens, width = grid[0] * grid[1], config.width
        self.num_cells = config.cells_per_side**2
        self.cell_size = self.num_tokens // self.num_cells

        def blocks(depth: int) -> nn.ModuleList:
            return nn.ModuleList(
                CellBlock(width, config.num_heads, config.dropout) for _ in range(depth)
            )

        self.class_emb = nn.Embedding(num_classes + 1, width)
        self.time_embed = TimeEmbedding(width)
        self.z_proj = nn.Linear(channels, width)
        self.z_proj_ln = nn.RMSNorm(width, eps=NORM_EPS)
        self.encoder_pos = nn.Parameter(torch.zeros(1, self.num_tokens, width))
        self.encoder_blocks = blocks(config.encoder_depth)
        self.encoder_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(width, width)
        self.decoder_pos = nn.Parameter(torch.zeros(1, self.num_tokens, width))
        self.decoder_blocks = blocks(config.decoder_depth)
        self.decoder_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.pred = nn.Linear(width, channels)
        self._init_weights()

        host_order = orders.cells(*grid, config.cells_per_side)
        cos, sin = grid_rotation(*grid, width // config.num_heads)
        self.register_buffer("host_order", host_order, persistent=False)
        self.register_buffer("cos", cos[host_order], persistent=False)
        self.register_buffer("sin", sin[host_order], persistent=False)

    def _init_weights(self) -> None:
        """Embeddings normal(0.02), linear layers Xavier, biases zero."""
        for table in (self.class_emb.weight, self.encoder_pos, self.decoder_pos):
            nn.init.normal_(table, std=0.02)
        init_xavier(self)

    @staticmethod
    def decays(name: str, parameter: Tensor) -> bool:
        """Official recipe: weight decay on everything but vectors."""
        return parameter.ndim > 1 and not name.endswith(".bias")

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step; noise levels are logit-normal, one per cell."""
        return Draws(
            label_drop=torch.rand(batch, generator=generator) < self.config.label_drop,
            time=torch.randn(batch, self.num_cells, generator=generator).sigmoid(),
            noise=torch.randn(batch, self.num_tokens, self.channels, generator=generator),
        )

    def loss(self, y: Float[Tensor, "b n d"], labels: Int[Tensor, " b"], draws: Draws) -> Loss:
        """Mean squared error of the velocity over all cells (xAR, noisy context learning)."""
        labels = torch.where(draws.label_drop, self.null_label, labels)
        t = draws.time.repeat_interleave(self.cell_size, 1)[..., None]
        noisy = flow.interpolate(y, draws.noise, t)
        condition = self.condition(labels, draws.time)
        velocity = self.velocity(noisy, condition)
        error = draws.noise - y - velocity
        return Loss(value=error.square().mean(), error=error)

    def condition(
        self, labels: Int[Tensor, " b"], time: Float[Tensor, "#b k"]
    ) -> Float[Tensor, "b k w"]:
        """One vector per cell; the network is told the time in whole thousandths."""
        thousandths = (time * 1000).floor()
        return self.class_emb(labels)[:, None] + self.time_embed(thousandths)

    def velocity(
        self,
        tokens: Float[Tensor, "b p d"],
        condition: Float[Tensor, "b q w"],
        start: int = 0,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "b p d"]:
        """dz/dt of the p tokens from position `start` on, q cells in a row, block-causally."""
        rows = slice(start, start + tokens.shape[1])
        rotation = self.cos[rows], self.sin[rows]
        num_blocks = len(self.encoder_blocks) + len(self.decoder_blocks)
        caches = iter(cache.layers() if cache is not None else [None] * num_blocks)
        h = self.z_proj_ln(self.z_proj(tokens) + self.encoder_pos[:, rows])
        for block in self.encoder_blocks:
            h = block(h, condition, self.cell_size, rotation, next(caches))
        h = self.decoder_embed(self.encoder_norm(h)) + self.decoder_pos[:, rows]
        for block in self.decoder_blocks:
            h = block(h, condition, self.cell_size, rotation, next(caches))
        return self.pred(self.decoder_norm(h))

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: XARSamplerConfig
    ) -> Float[Tensor, "b n d"]:
        """Denoise cell after cell; guidance grows linearly from 1 at the first to full strength."""
        guided = sampler.guidance > 1
        both = torch.cat((labels, torch.full_like(labels, self.null_label))) if guided else labels
        cache = self._cache(len(both))
        cells: list[Tensor] = []
        for index in range(self.num_cells):
            start = noise.normal(self.cell_size, self.channels)
            guidance = 1 + (sampler.guidance - 1) * index / max(1, self.num_cells - 1)
            field = self._field(labels, both, index, guidance, cache)
            if sampler.solver == "euler":
                cell = flow.euler(field, start, flow.euler_times(sampler.num_steps))
            else:
                times = flow.euler_maruyama_times(sampler.num_steps)
                cell = flow.euler_maruyama(
                    field,
                    start,
                    times,
                    lambda: noise.normal(self.cell_size, self.channels).double(),
                )
            cells.append(cell)
            if index + 1 < self.num_cells:
                self._remember(cell, both, index, cache)
        return torch.cat(cells, 1)

    def _cache(self, batch: int) -> KVCache:
        num_blocks = len(self.encoder_blocks) + len(self.decoder_blocks)
        heads = self.config.num_heads
        shape = (num_blocks, batch, heads, self.num_tokens, self.config.width // heads)
        return KVCache(*shape, like=self.pred.weight)

    def _field(
        self, labels: Tensor, both: Tensor, index: int, guidance: float, cache: KVCache
    ) -> flow.Velocity:
        """The guided velocity of one cell, given the cached ones."""
        guided = guidance > 1
        start = index * self.cell_size

        def field(z: Tensor, t: float) -> Tensor:
            # The first cell has no context and no guidance: its null half is not computed.
            rows = both if index or guided else labels
            repeats = len(rows) // len(z)
            tokens = z.to(self.pred.weight.dtype).repeat(repeats, 1, 1)
            # Differs from a double-precision clock: the official network is told float32 times.
            time = torch.tensor(t, dtype=torch.float32, device=z.device).expand(1, 1)
            condition = self.condition(rows, time)
            v = self.velocity(tokens, condition, start=start, cache=cache if index else None)
            if repeats == 1:
                return v
            v, v_null = v.chunk(2)
            return v_null + guidance * (v - v_null)

        return field

    def _remember(self, cell: Tensor, both: Tensor, index: int, cache: KVCache) -> None:
        """Write the clean cell's keys and values, at time 0."""
        tokens = cell.repeat(len(both) // len(cell), 1, 1)
        condition = self.condition(both, torch.zeros(1, 1, device=cell.device))
        self.velocity(tokens, condition, start=index * self.cell_size, cache=cache)
        cache.advance(self.cell_size)


def rms_norm(x: Float[Tensor, "b n w"]) -> Float[Tensor, "b n w"]:
    """Divide by the root mean square, without weights."""
    return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS)
