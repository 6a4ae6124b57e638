"""xAR: next-cell prediction by flow matching with noisy context (Ren et al. 2025, "Beyond
Next-Token: Next-X Prediction for Autoregressive Visual Generation").

The grid is cut into cells. In training every cell gets its own noise level and one block-causal
pass predicts all velocities, so a cell is predicted from noisy earlier cells. In sampling the
cells are denoised one after another, each given the clean ones before it through a KV cache.

b images, k cells of m tokens, n = k m tokens of d channels in cell-major order, w the width.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nextbasis.basis import orders
from nextbasis.config import OrderConfig
from nextbasis.families.common import flow
from nextbasis.families.common.attention import KVCache, grid_rotation
from nextbasis.families.common.backbone import Backbone
from nextbasis.families.common.execution import sent
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.parts import NORM_EPS, TimeEmbedding, init_xavier
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.text import TextEmbedding, TextSpec
from nextbasis.families.xar.block import CellBlock, gated_width
from nextbasis.families.xar.config import XARConfig, XARSamplerConfig


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step."""

    label_drop: Bool[Tensor, " b"]
    time: Float[Tensor, "b k"]
    noise: Float[Tensor, "b n d"]

    def share_level(self) -> "Draws":
        """Draws with one noise level for all cells of an image: that of its first cell."""
        return replace(self, time=self.time[:, :1].expand_as(self.time))

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(
            label_drop=self.label_drop[images], time=self.time[images], noise=self.noise[images]
        )


@dataclass(kw_only=True)
class Modulations:
    """What the blocks are told in sampling, by class and time: known before the first token is.

    With c classes and s times they take 3 c s / (b n) of the memory of a cache for b rows.
    """

    tables: list[Float[Tensor, "c s six_w"]]  # of every block
    classes: Int[Tensor, " b"]  # of every row of the batch: those of the labels, then null
    steps: dict[float, int]  # time to column

    def at(self, t: float, num_rows: int) -> list[Float[Tensor, "b 1 six_w"]]:
        """Shifts, scales and gates of every block at time t, for the first rows of the batch."""
        classes, step = self.classes[:num_rows], self.steps[t]
        return [table[:, step].index_select(0, classes)[:, None] for table in self.tables]


class XAR(Backbone):
    """The block-causal transformer that predicts velocities."""

    rotation: Tensor
    grouped = True
    class_emb: nn.Embedding | TextEmbedding

    def __init__(
        self,
        config: XARConfig,
        spec: TokenSpec,
        order: OrderConfig,
    ) -> None:
        """Tokens form a grid, both of whose sides cells_per_side must divide; `order` is not used.

        With captions, each class is one; every cell is told the mean of its caption's tokens.

        A sequence, such as the coefficients of a frame, is a grid of one row, cut into as many
        runs as a grid has cells.
        """
        super().__init__(config, spec, order)
        grid, channels, num_classes = spec.sequence, spec.channels, spec.num_classes
        self.config, self.channels, self.null_label = config, channels, num_classes
        self.num_tokens, width = grid[0] * grid[1], config.width
        host_order = orders.cells(*grid, config.cells_per_side)
        self.num_cells = config.cells_per_side**2
        self.cell_size = self.num_tokens // self.num_cells
        self.layout = (self.num_cells, self.cell_size)

        hidden = gated_width(width, config.mlp_ratio)

        def blocks(depth: int) -> nn.ModuleList:
            return nn.ModuleList(
                CellBlock(width, config.num_heads, hidden, config.dropout) for _ in range(depth)
            )

        self.class_emb = self._embedding(num_classes, spec.text)
        self.time_embed = TimeEmbedding(width)
        self.z_proj = Linear(channels, width)
        self.z_proj_ln = nn.RMSNorm(width, eps=NORM_EPS)
        self.encoder_pos = nn.Parameter(torch.zeros(1, self.num_tokens, width))
        self.encoder_blocks = blocks(config.encoder_depth)
        self.encoder_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.decoder_embed = Linear(width, width)
        self.decoder_pos = nn.Parameter(torch.zeros(1, self.num_tokens, width))
        self.decoder_blocks = blocks(config.decoder_depth)
        self.decoder_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.pred = Linear(width, channels)
        self._init_weights()

        rotation = grid_rotation(*grid, width // config.num_heads)
        step_of = torch.arange(self.num_tokens) // self.cell_size
        self.register_buffer("host_order", host_order, persistent=False)
        self.register_buffer("step_of", step_of, persistent=False)
        self.register_buffer("rotation", rotation[host_order], persistent=False)

    def _embedding(self, num_classes: int, text: TextSpec | None) -> nn.Embedding | TextEmbedding:
        config, width = self.config, self.config.width
        if text is None:
            return nn.Embedding(num_classes + 1, width)
        heads, depth = config.num_heads, config.text_depth
        return TextEmbedding(text, num_classes, width, heads, depth, config.dropout, pooled=True)

    def _init_weights(self) -> None:
        """Embeddings normal(0.02), linear layers Xavier, biases zero."""
        if isinstance(self.class_emb, nn.Embedding):
            nn.init.normal_(self.class_emb.weight, std=0.02)
        for table in (self.encoder_pos, self.decoder_pos):
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

    def loss(
        self,
        y: Float[Tensor, "b n d"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: Float[Tensor, "b n d"] | None = None,
    ) -> Loss:
        """Mean squared error of the velocity over all cells (xAR, noisy context learning).

        `target` replaces y in the velocity to predict, for a gradient that differs.
        """
        target = y if target is None else target
        labels = torch.where(draws.label_drop, self.null_label, labels)
        t = draws.time.repeat_interleave(self.cell_size, 1)[..., None]
        noisy = flow.interpolate(y, draws.noise, t)
        condition = self.condition(labels, draws.time)
        velocity = self.velocity(noisy, condition)
        error = draws.noise - target - velocity
        snr = t[..., 0] ** -2  # of the velocity: its error is that of the clean token over t
        return Loss(value=error.square().mean(), error=error, snr=snr)

    def condition(
        self, labels: Int[Tensor, " b"], time: Float[Tensor, "#b k"]
    ) -> Float[Tensor, "b k w"]:
        """One vector per cell; the network is told the time in whole thousandths."""
        thousandths = (time * 1000).floor()
        return self.class_emb(labels)[:, None] + self.time_embed(thousandths)

    def velocity(
        self, tokens: Float[Tensor, "b p d"], condition: Float[Tensor, "b q w"]
    ) -> Float[Tensor, "b p d"]:
        """dz/dt of the p tokens of the first q cells, block-causally."""
        return self._velocity(tokens, (block.ada_lin(condition) for block in self._blocks()))

    def _blocks(self) -> list[CellBlock]:
        return [*self.encoder_blocks, *self.decoder_blocks]

    def _velocity(
        self,
        tokens: Float[Tensor, "b p d"],
        modulations: Iterable[Float[Tensor, "b q six_w"]],
        start: int = 0,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "b p d"]:
        """dz/dt of the p tokens from position `start` on, q cells; one modulation per block."""
        rows = slice(start, start + tokens.shape[1])
        rotation, modulation = self.rotation[rows], iter(modulations)
        caches = iter(cache.layers() if cache is not None else [None] * len(self._blocks()))
        h = self.z_proj_ln(self.z_proj(tokens) + self.encoder_pos[:, rows])
        for block in self.encoder_blocks:
            h = block(h, next(modulation), self.cell_size, rotation, next(caches))
        h = self.decoder_embed(self.encoder_norm(h)) + self.decoder_pos[:, rows]
        for block in self.decoder_blocks:
            h = block(h, next(modulation), self.cell_size, rotation, next(caches))
        return self.pred(self.decoder_norm(h)).float()

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: XARSamplerConfig
    ) -> Float[Tensor, "b n d"]:
        """Denoise cell after cell; guidance grows linearly from 1 at the first to full strength."""

        def normal() -> Tensor:
            return noise.normal(self.cell_size, self.channels)

        stochastic = sampler.solver == "euler_maruyama"
        times = (flow.euler_maruyama_times if stochastic else flow.euler_times)(sampler.num_steps)
        guided = sampler.guidance > 1 and self.num_cells > 1
        rows = torch.cat((labels, torch.full_like(labels, self.null_label))) if guided else labels
        told = self._modulations(rows, times)
        cache = self._cache(len(rows))
        cells: list[Tensor] = []
        for index in range(self.num_cells):
            guidance = 1 + (sampler.guidance - 1) * index / max(1, self.num_cells - 1)
            field = self._field(told, index, guidance, cache)
            if stochastic:
                cell = flow.euler_maruyama(field, normal(), times, lambda: normal().double())
            else:
                cell = flow.euler(field, normal(), times)
            cells.append(cell)
            if index + 1 < self.num_cells:
                self._remember(cell, told, index, cache)
        return torch.cat(cells, 1)

    def _modulations(self, classes: Int[Tensor, " b"], times: list[float]) -> Modulations:
        """Modulations of all distinct classes at all times, with one product per block."""
        distinct, rows = classes.unique(return_inverse=True)
        # Differs from a double-precision clock: the official network is told float32 times.
        told = sent(torch.tensor([times], dtype=torch.float32), classes.device)
        condition = self.condition(distinct, told)
        tables = [block.ada_lin(condition) for block in self._blocks()]
        return Modulations(tables=tables, classes=rows, steps={t: i for i, t in enumerate(times)})

    def _cache(self, batch: int) -> KVCache:
        heads = self.config.num_heads
        shape = (len(self._blocks()), batch, heads, self.num_tokens, self.config.width // heads)
        return KVCache(*shape, like=self.pred.weight)

    def _field(
        self, told: Modulations, index: int, guidance: float, cache: KVCache
    ) -> flow.Velocity:
        """The guided velocity of one cell, given the cached ones.

        The null half is computed where it has weight; at the first cell it has none.
        """
        repeats = 2 if guidance > 1 else 1

        def field(z: Tensor, t: float) -> Tensor:
            tokens = z.float().repeat(repeats, 1, 1)
            modulations = told.at(t, len(tokens))
            start, past = index * self.cell_size, cache if index else None
            v = self._velocity(tokens, modulations, start=start, cache=past)
            if repeats == 1:
                return v
            v, v_null = v.chunk(2)
            return v_null + guidance * (v - v_null)

        return field

    def _remember(self, cell: Tensor, told: Modulations, index: int, cache: KVCache) -> None:
        """Write the clean cell's keys and values, at time 0, of all rows."""
        tokens = cell.repeat(len(told.classes) // len(cell), 1, 1)
        modulations = told.at(0.0, len(tokens))
        self._velocity(tokens, modulations, start=index * self.cell_size, cache=cache)
        cache.advance(self.cell_size)


MODEL = XAR
