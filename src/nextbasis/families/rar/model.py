"""RAR: randomised autoregression over token ids (Yu et al. 2024, "Randomized Autoregressive
Visual Generation").

A causal transformer predicts ids one after another. In training the order is random with a
probability r that is annealed to 0, after which it is one fixed scan. A second position table
tells each token which position comes next (target-aware positions).

The sequence is [cls, class condition, token of s_0, token of s_1, ...] for an order s.
b images, n tokens, w the width, v the codebook's size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.basis import orders
from nextbasis.config import OrderConfig
from nextbasis.families.common.attention import Attention, KVCache, LayerCache
from nextbasis.families.common.backbone import Backbone
from nextbasis.families.common.categorical import CategoricalHead, draw, power_cosine_guidance
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.parts import MLP, NORM_EPS, Modulation, init_normal, modulate
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.rar.config import RARConfig, RARSamplerConfig

PREFIX = 2  # cls and class condition
POSITIONS_AT_ONCE = 8  # whose modulations the sampler computes together


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step."""

    order: Int[Tensor, "b n"]
    label_drop: Bool[Tensor, " b"]

    def share_level(self) -> "Draws":
        """These draws themselves: ids have no noise level."""
        return self

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(order=self.order[images], label_drop=self.label_drop[images])


class AdaLNBlock(nn.Module):
    """Causal transformer block modulated per position (DiT)."""

    def __init__(self, config: RARConfig) -> None:
        """Sizes come from the model's config."""
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.attn = Attention(config.width, config.num_heads, config.dropout, qk_norm=True)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = MLP(config.width, config.mlp_width, config.dropout)
        self.adaLN_modulation = Modulation(config.width, 6)

    def forward(self, x: Float[Tensor, "b m w"], c: Float[Tensor, "b m w"]) -> Tensor:
        """Every position looks at those before it; `c` conditions each."""
        return self.step(x, self.adaLN_modulation(c))

    def step(
        self, x: Float[Tensor, "b m w"], modulation: Tensor, cache: LayerCache | None = None
    ) -> Float[Tensor, "b m w"]:
        """Forward with given shifts, scales and gates of both halves (b, m, 6 w)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, -1)
        h = modulate(self.norm1(x), scale1, shift1)
        x = torch.addcmul(x, gate1, self.attn(h, causal=1, cache=cache))
        return torch.addcmul(x, gate2, self.mlp(modulate(self.norm2(x), scale2, shift2)))


class RAR(Backbone):
    """The causal transformer and its categorical head."""

    scan: Tensor
    grouped = False

    def __init__(
        self,
        config: RARConfig,
        spec: TokenSpec,
        order: OrderConfig,
    ) -> None:
        """Tokens form a grid; `order` says what they are annealed to."""
        super().__init__(config, spec, order)
        grid, codebook_size, num_classes = spec.grid, spec.codebook_size, spec.num_classes
        self.config, self.order_config = config, order
        self.num_tokens, self.layout, width = grid[0] * grid[1], grid, config.width
        self.codebook_size, self.num_classes = codebook_size, num_classes
        length = PREFIX + self.num_tokens
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        # Rows: the codebook, a mask entry (never read), the classes, the null class.
        self.embeddings = nn.Embedding(codebook_size + 1 + num_classes + 1, width)
        positions, steps = length + config.surplus_positions, length + config.surplus_timesteps
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, width))
        self.target_aware_pos_embed = nn.Parameter(torch.zeros(1, positions, width))
        self.timesteps_embeddings = nn.Parameter(torch.zeros(1, steps, width))
        self.blocks = nn.ModuleList(AdaLNBlock(config) for _ in range(config.depth))
        self.final_modulation = Modulation(width, 2)
        self.head = CategoricalHead(width, codebook_size)
        self._init_weights()
        self.register_buffer("host_order", orders.raster(*grid), persistent=False)
        self.register_buffer("step_of", torch.arange(self.num_tokens), persistent=False)
        # Orders are drawn on the CPU, whatever the device of the buffers.
        self.drawn_scan = orders.scan(order.scan, *grid)
        self.register_buffer("scan", orders.scan(order.scan, *grid), persistent=False)

    def _init_weights(self) -> None:
        """Normal(0.02) everywhere, biases and modulations zero: blocks start as the identity."""
        tables = (self.pos_embed, self.target_aware_pos_embed, self.timesteps_embeddings)
        for table in (*tables, self.embeddings.weight):
            nn.init.normal_(table, std=0.02)
        init_normal(self)
        for module in self.modules():
            if isinstance(module, Modulation):
                module.zero_()

    @staticmethod
    def decays(name: str, parameter: Tensor) -> bool:
        """Official recipe: linear weights of blocks and head, and cls_token.

        Its filter by name also spares the last modulation, whose official name contains "ln".
        """
        spared = ("embed", "norm", "final_modulation")
        return parameter.ndim > 1 and not any(part in name for part in spared)

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step; `progress` in [0, 1] sets the ratio r of random orders."""
        start, end = self.order_config.anneal_start, self.order_config.anneal_end
        ratio = orders.random_ratio(progress, start, end)
        return Draws(
            order=orders.annealed_orders(batch, self.drawn_scan, ratio, generator),
            label_drop=torch.rand(batch, generator=generator) < self.config.label_drop,
        )

    def loss(
        self,
        ids: Int[Tensor, "b n"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: None = None,
    ) -> Loss:
        """Mean cross-entropy in nats over all tokens in the drawn orders (RAR, eq. 2).

        No `target` can replace ids: no gradient passes them.
        """
        order = draws.order
        permuted = ids.gather(1, order)
        condition = self.condition_ids(labels, draws.label_drop)
        x = self._embed(permuted[:, :-1], condition)
        x = x + self._positions(order)[:, :-1]
        c = self.embeddings(condition)[:, None] + self.timesteps_embeddings[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x, c)
        z = self._final(x, self.final_modulation(c))
        per_token, accuracy = self.head.loss(z[:, 1:], permuted)
        return Loss(value=per_token.mean(), notes={"accuracy": accuracy})

    def condition_ids(
        self, labels: Int[Tensor, " b"], drop: Bool[Tensor, " b"] | None = None
    ) -> Int[Tensor, " b"]:
        """Rows of the embedding that stand for classes; the null class where `drop`."""
        rows = labels + self.codebook_size + 1
        return rows if drop is None else torch.where(drop, self._null_id(), rows)

    def _null_id(self) -> int:
        return self.codebook_size + 1 + self.num_classes

    def _embed(
        self, ids: Int[Tensor, "b m"], condition: Int[Tensor, " b"]
    ) -> Float[Tensor, "b m2 w"]:
        tokens = self.embeddings(torch.cat((condition[:, None], ids), 1))
        return torch.cat((self.cls_token.expand(len(ids), -1, -1), tokens), 1)

    def _positions(self, order: Int[Tensor, "b n"]) -> Float[Tensor, "b m w"]:
        """Own position plus that of the token predicted next, along the sequence."""
        own = torch.cat(
            (torch.arange(PREFIX, device=order.device).expand(len(order), -1), order + PREFIX), 1
        )
        target = self.target_aware_pos_embed[0][order + PREFIX]
        return self.pos_embed[0][own] + F.pad(target, (0, 0, 1, 1))

    def _final(self, x: Float[Tensor, "b m w"], modulation: Tensor) -> Float[Tensor, "b m w"]:
        """What the head sees; `modulation` holds scale and shift (b, m, 2 w)."""
        scale, shift = modulation.chunk(2, -1)
        return modulate(F.layer_norm(x, x.shape[-1:], eps=NORM_EPS), scale, shift)

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: RARSamplerConfig
    ) -> Int[Tensor, "b n"]:
        """Ids in raster order, drawn along the scan, or along random orders if never annealed."""
        batch, n = len(labels), self.num_tokens
        always_random = self.order_config.anneal_start >= 1
        order = noise.orders(n) if always_random else self.scan[None]
        uniform = noise.uniform(n)
        condition = self.condition_ids(labels)
        if sampler.guidance > 1:
            condition = torch.cat((condition, torch.full_like(condition, self._null_id())))
        repeats = len(condition) // batch
        positions = self._positions(order).repeat_interleave(batch // len(order), 0)
        cache = self._cache(len(condition))
        modulations = self._modulations(condition)
        ids = torch.empty(batch, n, dtype=torch.long, device=labels.device)
        x = self.cls_token + positions[:, :1].repeat(repeats, 1, 1)
        self._advance(x, next(modulations), cache)
        x = self.embeddings(condition)[:, None] + positions[:, 1:PREFIX].repeat(repeats, 1, 1)
        for k in range(n):
            logits = self.head(self._advance(x, next(modulations), cache)[:, 0])
            if repeats == 2:
                logits, null = logits.chunk(2)
                weight = power_cosine_guidance(sampler.guidance, sampler.guidance_power, k, n)
                logits = torch.lerp(null, logits, weight)
            ids[:, k] = draw(logits, sampler.temperature, uniform[:, k])
            token = self.embeddings(ids[:, k]) + positions[:, PREFIX + k]
            x = token[:, None].repeat(repeats, 1, 1)
        return torch.empty_like(ids).scatter_(1, order.expand(batch, -1), ids)

    def _advance(
        self, x: Float[Tensor, "b 1 w"], modulations: list[Tensor], cache: KVCache
    ) -> Float[Tensor, "b 1 w"]:
        """Run the next position through the blocks; its keys and values become fixed."""
        *blocks, final = modulations
        for block, modulation, layer in zip(self.blocks, blocks, cache.layers(), strict=True):
            assert isinstance(block, AdaLNBlock)
            x = block.step(x, modulation, layer)
        cache.advance(1)
        return self._final(x, final)

    def _modulations(self, condition: Int[Tensor, " b"]) -> Iterator[list[Float[Tensor, "b 1 p"]]]:
        """Modulations of every block and the last norm, position by position.

        They depend on class and position only, so they are computed once for every distinct
        class, for a few positions at a time.
        """
        distinct, rows = condition.unique(return_inverse=True)
        classes = self.embeddings(distinct)
        networks = [block.get_submodule("adaLN_modulation") for block in self.blocks]
        for times in self.timesteps_embeddings[0].split(POSITIONS_AT_ONCE):
            c = times[:, None, None] + classes[:, None]
            several = [network(c) for network in (*networks, self.final_modulation)]
            for position in range(len(times)):
                yield [modulation[position][rows] for modulation in several]

    def _cache(self, batch: int) -> KVCache:
        heads = self.config.num_heads
        shape = (len(self.blocks), batch, heads, PREFIX + self.num_tokens)
        return KVCache(*shape, self.config.width // heads, like=self.cls_token)


MODEL = RAR
