"""MAR: masked autoregression with a diffusion head (Li et al. 2024, "Autoregressive Image
Generation without Vector Quantization").

An encoder sees the known tokens, a decoder sees them and mask tokens, and a small diffusion model
draws each hidden token from the decoder's output z. Training hides a random share of the tokens;
sampling reveals them in a random order over a few iterations, all tokens of one at once. With
`ordered`, which is ours, the first tokens are known first: the order that a basis gives them.

b images, n tokens of d channels, w and v the widths of encoder and decoder, s the class tokens of
the buffer in front, m encoded tokens.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.basis import orders
from nextbasis.config import OrderConfig
from nextbasis.families.common.ancestral import AncestralSampler
from nextbasis.families.common.backbone import Backbone
from nextbasis.families.common.diffusion import DiffusionHead
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.parts import NORM_EPS, Block, init_xavier
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.text import TextEmbedding, TextSpec
from nextbasis.families.mar.config import MARConfig, MARSamplerConfig


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step; k noise levels per token."""

    order: Int[Tensor, "b n"]
    num_hidden: int
    label_drop: Bool[Tensor, " b"]
    step: Int[Tensor, "k b n"]
    noise: Float[Tensor, "k b n d"]

    def share_level(self) -> "Draws":
        """Draws with one noise level for all tokens of an image: that of its first token."""
        return replace(self, step=self.step[..., :1].expand_as(self.step))

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(
            order=self.order[images],
            num_hidden=self.num_hidden,
            label_drop=self.label_drop[images],
            step=self.step[:, images],
            noise=self.noise[:, images],
        )


class MAR(Backbone):
    """The masked encoder, the decoder and the head."""

    grouped = False
    class_emb: nn.Embedding | TextEmbedding

    def __init__(
        self,
        config: MARConfig,
        spec: TokenSpec,
        order: OrderConfig,
    ) -> None:
        """Tokens form a grid in raster order; `order` says nothing to MAR, whose order is random.

        With captions, each class is one.

        Raises: ValueError if the buffer does not hold the tokens of a caption.
        """
        super().__init__(config, spec, order)
        grid, channels, text = spec.sequence, spec.channels, spec.text
        if text is not None and text.num_tokens != config.buffer_size:
            raise ValueError(
                f"model.buffer_size must be {text.num_tokens}, the tokens of a caption, "
                f"got {config.buffer_size}"
            )
        self.config, self.channels = config, channels
        self.num_tokens, self.layout = grid[0] * grid[1], grid
        length = config.buffer_size + self.num_tokens

        def blocks(depth: int, width: int, num_heads: int) -> nn.ModuleList:
            hidden = int(config.mlp_ratio * width)
            layers = (Block(width, num_heads, hidden, config.dropout) for _ in range(depth))
            return nn.ModuleList(layers)

        width = config.encoder_width
        self.class_emb = self._embedding(spec.num_classes, text)
        self.null_class = nn.Parameter(torch.zeros(1, width))
        self.z_proj = Linear(channels, width)
        self.z_proj_ln = nn.LayerNorm(width, eps=NORM_EPS)
        self.encoder_pos = nn.Parameter(torch.zeros(1, length, width))
        self.encoder_blocks = blocks(config.encoder_depth, width, config.encoder_heads)
        self.encoder_norm = nn.LayerNorm(width, eps=NORM_EPS)
        width = config.decoder_width
        self.decoder_embed = Linear(config.encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos = nn.Parameter(torch.zeros(1, length, width))
        self.decoder_blocks = blocks(config.decoder_depth, width, config.decoder_heads)
        self.decoder_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.head_pos = nn.Parameter(torch.zeros(1, self.num_tokens, width))
        self._init_weights()
        self.head = DiffusionHead(channels, width, config.head_width, config.head_depth)
        self.register_buffer("host_order", orders.raster(*grid), persistent=False)
        self.register_buffer("step_of", torch.arange(self.num_tokens), persistent=False)

    def _embedding(self, num_classes: int, text: TextSpec | None) -> nn.Embedding | TextEmbedding:
        config, width = self.config, self.config.encoder_width
        if text is None:
            return nn.Embedding(num_classes, width)
        heads, depth = config.encoder_heads, config.text_depth
        return TextEmbedding(text, num_classes, width, heads, depth, config.dropout, pooled=False)

    def _init_weights(self) -> None:
        """Embeddings normal(0.02), linear layers Xavier, biases zero."""
        tables = (self.null_class, self.mask_token, self.encoder_pos, self.decoder_pos)
        for table in (*tables, self.head_pos):
            nn.init.normal_(table, std=0.02)
        if isinstance(self.class_emb, nn.Embedding):
            nn.init.normal_(self.class_emb.weight, std=0.02)
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
            order=self._order(orders.random_orders(batch, n, generator)),
            num_hidden=min(n, math.ceil(n * (1 + quantile.item()))),
            label_drop=torch.rand(batch, generator=generator) < config.label_drop,
            step=torch.randint(len(self.head.schedule), levels, generator=generator),
            noise=torch.randn(*levels, self.channels, generator=generator),
        )

    def _order(self, random: Int[Tensor, "b n"]) -> Int[Tensor, "b n"]:
        """The order whose end is known first: a random one, or that from the last token back."""
        if not self.config.ordered:
            return random
        return torch.arange(self.num_tokens - 1, -1, -1, device=random.device).expand_as(random)

    def loss(
        self,
        y: Float[Tensor, "b n d"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: Float[Tensor, "b n d"] | None = None,
    ) -> Loss:
        """Mean diffusion loss over hidden tokens and noise levels (eq. 1 with eq. 2 of MAR).

        `target` replaces y in the head, for a gradient that differs. `error` and `snr` have k b
        rows, the noise levels stacked in front of the batch.
        """
        target = y if target is None else target
        hidden, known = split_order(draws.order, draws.num_hidden)
        condition = self.embed_labels(labels, draws.label_drop)
        z = self.decode(self.encode(y, known, condition), known, hidden)
        levels = len(draws.step)
        noise, index = draws.noise.flatten(0, 1), hidden.repeat(levels, 1)
        per_row, error = self.head.loss(
            rows(target, hidden).flatten(0, 1),
            z.flatten(0, 1),
            draws.step.flatten(0, 1).gather(1, index).view(levels, -1),
            rows(noise, index).view(levels, -1, self.channels),
        )
        error = put_rows(torch.zeros_like(noise), index, error.view(*index.shape, -1))
        snr = self.head.schedule.snr(draws.step.flatten(0, 1))
        return Loss(value=per_row.mean(), error=error, snr=snr)

    def embed_labels(
        self, labels: Int[Tensor, " b"], drop: Bool[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b _ w"]:
        """Class embeddings or captions' tokens, the null class where `drop`."""
        embedded = self.class_emb(labels).view(len(labels), -1, self.config.encoder_width)
        if drop is None:
            return embedded
        return torch.where(drop[:, None, None], self.null_class, embedded)

    def encode(
        self,
        y: Float[Tensor, "b n d"],
        known: Int[Tensor, "b k"],
        condition: Float[Tensor, "b _ w"],
    ) -> Float[Tensor, "b m w"]:
        """Encode the class tokens and the known tokens."""
        for_classes, for_tokens = self._split(self.encoder_pos)
        classes = condition + for_classes
        tokens = self.z_proj(rows(y, known)) + F.embedding(known, for_tokens)
        h = self.z_proj_ln(torch.cat((classes, tokens), 1))
        for block in self.encoder_blocks:
            h = block(h)
        return self.encoder_norm(h)

    def decode(
        self, encoded: Float[Tensor, "b m w"], known: Int[Tensor, "b k"], asked: Int[Tensor, "b r"]
    ) -> Float[Tensor, "b r v"]:
        """z of the tokens `asked` for, from the encoded ones and mask tokens in the gaps.

        The last block computes only them; every token is a key of theirs.
        """
        size, batch = self.config.buffer_size, len(known)
        encoded = self.decoder_embed(encoded)
        gaps = self.mask_token.to(encoded.dtype).expand(batch, self.num_tokens, -1)
        tokens = put_rows(gaps, known, encoded[:, size:])
        h = torch.cat((encoded[:, :size], tokens), 1) + self.decoder_pos
        *blocks, last = self.decoder_blocks
        for block in blocks:
            h = block(h)
        h = last(h, size + asked)
        return self.decoder_norm(h) + F.embedding(asked, self.head_pos[0])

    def _split(self, positions: Float[Tensor, "1 sn w"]) -> tuple[Tensor, Tensor]:
        """Positions of the class tokens, and positions of the tokens."""
        size = self.config.buffer_size
        return positions[0, :size], positions[0, size:]

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: MARSamplerConfig
    ) -> Float[Tensor, "b n d"]:
        """Reveal tokens from the end of the order to its front, on a cosine schedule."""
        n, left = self.num_tokens, self.num_tokens
        order, condition = self._order(noise.orders(n)), self.embed_labels(labels)
        y = torch.zeros(len(labels), n, self.channels, device=labels.device)
        draw = AncestralSampler(self.head, sampler.num_steps, sampler.temperature, sampler.clip)
        for count in orders.hidden_counts(n, sampler.num_iter):
            new, known = split_order(order[:, count:], left - count)
            guidance = mar_guidance(sampler, n, count)
            z = self._conditions(y, known, new, condition, guidance != 1)
            y = put_rows(y, new, self._draw_tokens(draw, z, new, guidance, noise))
            left = count
        return y

    def _conditions(
        self, y: Tensor, known: Tensor, new: Tensor, condition: Tensor, guided: bool
    ) -> Float[Tensor, "g b r v"]:
        """z of the new tokens for the embedded labels and, if guided, for the null class."""
        batch = len(condition)
        if guided:
            condition = torch.cat((condition, self.null_class.expand_as(condition)))
            y, known, new = (torch.cat((part, part)) for part in (y, known, new))
        z = self.decode(self.encode(y, known, condition), known, new)
        return z.unflatten(0, (-1, batch))

    def _draw_tokens(
        self, draw: AncestralSampler, z: Tensor, new: Tensor, guidance: float, noise: ImageNoise
    ) -> Float[Tensor, "b r d"]:
        """Draw the new tokens from their z."""
        numbers = noise.normal(len(draw.steps), new.shape[1], self.channels)
        strength = torch.full((), guidance, device=z.device)
        drawn = draw(z.flatten(1, 2), strength, numbers.transpose(0, 1).flatten(1, 2))
        return drawn.view(*new.shape, -1)


def split_order(
    order: Int[Tensor, "b n"], num_hidden: int
) -> tuple[Int[Tensor, "b h"], Int[Tensor, "b k"]]:
    """The tokens that are hidden, first in their order, and those known, each in raster order."""
    return order[:, :num_hidden].sort(1).values, order[:, num_hidden:].sort(1).values


def rows(x: Float[Tensor, "b n d"], index: Int[Tensor, "b m"]) -> Float[Tensor, "b m d"]:
    """The listed rows of every image."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def put_rows(
    x: Float[Tensor, "b n d"], index: Int[Tensor, "b m"], values: Float[Tensor, "b m d"]
) -> Float[Tensor, "b n d"]:
    """x with the listed rows of every image replaced."""
    return x.scatter(1, index[..., None].expand_as(values), values)


def mar_guidance(sampler: MARSamplerConfig, num_tokens: int, hidden: int) -> float:
    """Guidance of an iteration after which `hidden` tokens are left.

    Linear guidance grows with the share of known tokens; the official code counts at least one
    token as hidden, so it never quite reaches its full value.
    """
    if sampler.guidance_schedule == "constant":
        return sampler.guidance
    return 1 + (sampler.guidance - 1) * (num_tokens - max(1, hidden)) / num_tokens


MODEL = MAR
