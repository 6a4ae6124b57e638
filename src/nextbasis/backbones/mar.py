"""MAR: masked autoregression with a diffusion head (Li et al. 2024, "Autoregressive Image
Generation without Vector Quantization").

An encoder sees the known tokens, a decoder sees them and mask tokens, and a small diffusion model
draws each hidden token from the decoder's output z. Training hides a random share of the tokens;
sampling reveals them in a random order over a few iterations, all tokens of one at once.

b images, n tokens of d channels, w and v the widths of encoder and decoder, s the class tokens of
the buffer in front, m encoded tokens.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nextbasis import orders
from nextbasis.config import MARConfig, MARSamplerConfig
from nextbasis.heads.diffusion import DiffusionHead
from nextbasis.heads.loss import Loss
from nextbasis.layers.parts import NORM_EPS, Block, init_xavier
from nextbasis.noise import ImageNoise


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step; k noise levels per token."""

    order: Int[Tensor, "b n"]
    num_hidden: int
    label_drop: Bool[Tensor, " b"]
    step: Int[Tensor, "k b n"]
    noise: Float[Tensor, "k b n d"]


class MAR(nn.Module):
    """The masked encoder, the decoder and the head."""

    host_order: Tensor

    def __init__(
        self, config: MARConfig, grid: tuple[int, int], channels: int, num_classes: int
    ) -> None:
        """Tokens form a `grid` (height, width) in raster order."""
        super().__init__()
        self.config, self.channels = config, channels
        self.num_tokens = grid[0] * grid[1]
        length = config.buffer_size + self.num_tokens

        def blocks(depth: int, width: int, num_heads: int) -> nn.ModuleList:
            hidden = int(config.mlp_ratio * width)
            layers = (Block(width, num_heads, hidden, config.dropout) for _ in range(depth))
            return nn.ModuleList(layers)

        width = config.encoder_width
        self.class_emb = nn.Embedding(num_classes, width)
        self.null_class = nn.Parameter(torch.zeros(1, width))
        self.z_proj = nn.Linear(channels, width)
        self.z_proj_ln = nn.LayerNorm(width, eps=NORM_EPS)
        self.encoder_pos = nn.Parameter(torch.zeros(1, length, width))
        self.encoder_blocks = blocks(config.encoder_depth, width, config.encoder_heads)
        self.encoder_norm = nn.LayerNorm(width, eps=NORM_EPS)
        width = config.decoder_width
        self.decoder_embed = nn.Linear(config.encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos = nn.Parameter(torch.zeros(1, length, width))
        self.decoder_blocks = blocks(config.decoder_depth, width, config.decoder_heads)
        self.decoder_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.head_pos = nn.Parameter(torch.zeros(1, self.num_tokens, width))
        self._init_weights()
        self.head = DiffusionHead(channels, width, config.head_width, config.head_depth)
        self.register_buffer("host_order", orders.raster(*grid), persistent=False)

    def _init_weights(self) -> None:
        """Embeddings normal(0.02), linear layers Xavier, biases zero."""
        tables = (self.null_class, self.mask_token, self.encoder_pos, self.decoder_pos)
        for table in (*tables, self.head_pos, self.class_emb.weight):
            nn.init.normal_(table, std=0.02)
        init_xavier(self)

    @staticmethod
    def decays(name: str, parameter: Tensor) -> bool:
        """Official recipe: weight decay on everything but vectors and the diffusion head."""
        return parameter.ndim > 1 and not name.endswith(".bias") and not name.startswith("head.")

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step; the share hidden is a truncated normal around 1."""
        config, n = self.config, self.num_tokens
        low = math.erf((config.mask_ratio_min - 1) / config.mask_ratio_std / math.sqrt(2))
        uniform = torch.rand((), generator=generator, dtype=torch.float64)
        quantile = torch.erfinv(low * (1 - uniform)) * math.sqrt(2) * config.mask_ratio_std
        levels = (config.head_batch_mul, batch, n)
        return Draws(
            order=orders.random_orders(batch, n, generator),
            num_hidden=min(n, math.ceil(n * (1 + quantile.item()))),
            label_drop=torch.rand(batch, generator=generator) < config.label_drop,
            step=torch.randint(len(self.head.schedule), levels, generator=generator),
            noise=torch.randn(*levels, self.channels, generator=generator),
        )

    def loss(self, y: Float[Tensor, "b n d"], labels: Int[Tensor, " b"], draws: Draws) -> Loss:
        """Mean diffusion loss over hidden tokens and noise levels (eq. 1 with eq. 2 of MAR).

        `error` has k b rows, the noise levels stacked in front of the batch.
        """
        hidden = orders.first_of_order(draws.order, draws.num_hidden)
        condition = self.embed_labels(labels, draws.label_drop)
        z = self.decode(self.encode(y, hidden, condition), hidden)
        levels = len(draws.step)
        rows = hidden.expand(levels, -1, -1)
        per_row, row_error = self.head.loss(
            y.expand(levels, -1, -1, -1)[rows],
            z.expand(levels, -1, -1, -1)[rows],
            draws.step[rows],
            draws.noise[rows],
        )
        error = torch.zeros_like(draws.noise)
        error[rows] = row_error
        return Loss(value=per_row.mean(), error=error.flatten(0, 1))

    def embed_labels(
        self, labels: Int[Tensor, " b"], drop: Bool[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b w"]:
        """Class embeddings, the null class where `drop`."""
        embedded = self.class_emb(labels)
        return embedded if drop is None else torch.where(drop[:, None], self.null_class, embedded)

    def encode(
        self, y: Float[Tensor, "b n d"], hidden: Bool[Tensor, "b n"], condition: Tensor
    ) -> Float[Tensor, "b m w"]:
        """Encode the class tokens and the known tokens; all images hide equally many."""
        size = self.config.buffer_size
        classes = condition[:, None].expand(-1, size, -1)
        h = torch.cat((classes, self.z_proj(y)), 1)
        h = self.z_proj_ln(h + self.encoder_pos)
        h = h[self._known(hidden)].view(len(y), -1, h.shape[-1])
        for block in self.encoder_blocks:
            h = block(h)
        return self.encoder_norm(h)

    def decode(
        self, encoded: Float[Tensor, "b m w"], hidden: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n v"]:
        """z of every token, from the encoded ones and mask tokens in the gaps."""
        encoded = self.decoder_embed(encoded)
        known = self._known(hidden)
        h = self.mask_token.to(encoded.dtype).expand(*known.shape, -1).clone()
        h[known] = encoded.flatten(0, 1)
        h = h + self.decoder_pos
        for block in self.decoder_blocks:
            h = block(h)
        return self.decoder_norm(h)[:, self.config.buffer_size :] + self.head_pos

    def _known(self, hidden: Bool[Tensor, "b n"]) -> Bool[Tensor, "b sn"]:
        buffer = torch.ones(
            len(hidden), self.config.buffer_size, dtype=torch.bool, device=hidden.device
        )
        return torch.cat((buffer, ~hidden), 1)

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: MARSamplerConfig
    ) -> Float[Tensor, "b n d"]:
        """Reveal tokens from the end of a random order to its front, on a cosine schedule."""
        batch, n = len(labels), self.num_tokens
        order = noise.orders(n)
        y = torch.zeros(batch, n, self.channels, device=labels.device)
        hidden = torch.ones(batch, n, dtype=torch.bool, device=labels.device)
        for count in orders.hidden_counts(n, sampler.num_iter):
            remaining = orders.first_of_order(order, count)
            new = hidden & ~remaining
            guidance = mar_guidance(sampler, n, count)
            z = self._conditions(y, hidden, labels, guidance != 1)
            y[new] = self._draw_tokens(z, new, guidance, noise, sampler)
            hidden = remaining
        return y

    def _conditions(
        self, y: Tensor, hidden: Tensor, labels: Tensor, guided: bool
    ) -> list[Float[Tensor, "b n v"]]:
        """z for the labels and, if guided, for the null class."""
        condition = self.embed_labels(labels)
        if guided:
            condition = torch.cat((condition, self.null_class.expand_as(condition)))
            y, hidden = torch.cat((y, y)), torch.cat((hidden, hidden))
        z = self.decode(self.encode(y, hidden, condition), hidden)
        return list(z.chunk(2)) if guided else [z]

    def _draw_tokens(
        self,
        z: list[Tensor],
        new: Bool[Tensor, "b n"],
        guidance: float,
        noise: ImageNoise,
        sampler: MARSamplerConfig,
    ) -> Float[Tensor, "r d"]:
        """Draw the tokens marked `new`, equally many in every image."""
        per_image = int(new[0].sum())
        return self.head.sample(
            z[0][new],
            z[1][new] if len(z) == 2 else None,
            guidance,
            sampler.num_steps,
            sampler.temperature,
            sampler.clip,
            lambda: noise.normal(per_image, self.channels).flatten(0, 1),
        )


def mar_guidance(sampler: MARSamplerConfig, num_tokens: int, hidden: int) -> float:
    """Guidance of an iteration after which `hidden` tokens are left.

    Linear guidance grows with the share of known tokens; the official code counts at least one
    token as hidden, so it never quite reaches its full value.
    """
    if sampler.guidance_schedule == "constant":
        return sampler.guidance
    return 1 + (sampler.guidance - 1) * (num_tokens - max(1, hidden)) / num_tokens
