"""The transformer of LlamaGen and PAR: causal over ids, with rotary positions and a gated MLP.

Sun et al. 2024, "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation",
section 2.2; Wang et al. 2024, "Parallelized Autoregressive Visual Generation", section 3: after the
first p ids, which are drawn one after another, p are drawn together.

The sequence is [class, t_1 … t_p, s_1 … s_(p-1), t_(p+1) … t_(n-1)] for the n ids t in the model's
own order. The p - 1 special tokens s complete the first group of p rows, whose outputs are
t_(p+1) … t_2p; p = 1 has none, and is LlamaGen.
b images, n tokens, m rows, w the width, v the codebook's size.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.config import OrderConfig
from nextbasis.families.common.attention import (
    Attention,
    KVCache,
    LayerCache,
    Rotation,
    grid_rotation,
)
from nextbasis.families.common.backbone import Backbone
from nextbasis.families.common.categorical import CategoricalHead, draw, filtered
from nextbasis.families.common.dropout import Dropout
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.llama_config import LlamaConfig, LlamaSamplerConfig
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec

NORM_EPS = 1e-5


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step."""

    label_drop: Bool[Tensor, " b"]

    def share_level(self) -> "Draws":
        """These draws themselves: ids have no noise level."""
        return self

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(label_drop=self.label_drop[images])


class SwiGLU(nn.Module):
    """Gated feed-forward network with a SiLU gate and no biases."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        """`dropout` acts after the output."""
        super().__init__()
        self.w1 = Linear(width, hidden, bias=False)
        self.w3 = Linear(width, hidden, bias=False)
        self.w2 = Linear(hidden, width, bias=False)
        self.drop = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
        """Apply to the last axis."""
        return self.drop(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class LlamaBlock(nn.Module):
    """Attention, then a gated MLP, each behind a root-mean-square norm."""

    def __init__(self, config: LlamaConfig) -> None:
        """Sizes come from the model's config; attention weights are not dropped."""
        super().__init__()
        width, dropout = config.width, config.dropout
        self.norm1 = nn.RMSNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, config.num_heads, dropout, bias=False, drop_weights=False)
        self.norm2 = nn.RMSNorm(width, eps=NORM_EPS)
        self.mlp = SwiGLU(width, config.mlp_width, dropout)

    def forward(
        self,
        x: Float[Tensor, "b m w"],
        rotation: Rotation,
        attend: Bool[Tensor, "m m"] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "b m w"]:
        """Each row sees those before it, or what `attend` tells; all see everything cached."""
        causal = 1 if cache is None else 0
        h = self.norm1(x)
        x = x + self.attn(h, causal=causal, rotation=rotation, cache=cache, attend=attend)
        return x + self.mlp(self.norm2(x))


class Llama(Backbone):
    """The transformer and its categorical head."""

    rotation: Rotation
    attend: Tensor | None  # None where each row sees all rows before it and no other

    def __init__(
        self,
        config: LlamaConfig,
        spec: TokenSpec,
        order: OrderConfig,
        scan: Int[Tensor, " n"],
        parallel: int,
    ) -> None:
        """Ids are drawn along the `scan` of the grid, `parallel` at once after so many single ones.

        Raises: ValueError if that leaves an incomplete group.
        """
        super().__init__(config, spec, order)
        self.config, self.parallel = config, parallel
        self.num_tokens, self.num_classes = len(scan), spec.num_classes
        if self.num_tokens % parallel or self.num_tokens == parallel:
            raise ValueError(
                f"{parallel} tokens drawn together must be a part of the {self.num_tokens} of an "
                "image that leaves no rest"
            )
        width, groups = config.width, self.num_tokens // parallel
        self.layout = (groups, parallel) if parallel > 1 else spec.grid
        self.class_emb = nn.Embedding(spec.num_classes + 1, width)  # the last is the null class
        self.token_emb = nn.Embedding(spec.codebook_size, width)
        self.special_emb = nn.Embedding(parallel - 1, width) if parallel > 1 else None
        self.token_drop = Dropout(config.dropout)
        self.blocks = nn.ModuleList(LlamaBlock(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.head = CategoricalHead(width, spec.codebook_size, bias=False)
        self._init_weights()
        steps = torch.arange(self.num_tokens + parallel)
        steps = torch.where(steps < parallel, steps, parallel + steps // parallel - 1)
        self.register_buffer("host_order", scan, persistent=False)
        self.register_buffer("step_of", steps[: self.num_tokens].clone(), persistent=False)
        attend = None if parallel == 1 else steps[:, None] >= steps
        self.register_buffer("attend", attend, persistent=False)
        rotation = self._rows_rotation(spec.grid, scan)
        self.register_buffer("rotation", rotation, persistent=False)

    def _init_weights(self) -> None:
        """Normal(0.02), and a head of zeros: the first loss is the logarithm of the codebook."""
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)
        nn.init.zeros_(self.head.weight)

    def _rows_rotation(self, grid: tuple[int, int], scan: Int[Tensor, " c"]) -> Rotation:
        """Angles of the rows: of tokens those of their cells.

        Differs from a rotation by no angle: class and special tokens have rows of zeros, as the
        official tables, so that their queries and keys vanish and they are seen with score 0.
        """
        cells = grid_rotation(*grid, self.config.width // self.config.num_heads)[scan]
        nothing = torch.zeros(self.parallel, *cells.shape[1:])
        first, rest = cells.split((self.parallel, len(cells) - self.parallel))
        return torch.cat((nothing[:1], first, nothing[1:], rest))

    @staticmethod
    def decays(name: str, parameter: Tensor) -> bool:
        """Official recipe: all matrices, embeddings among them, and no vectors."""
        return parameter.ndim > 1

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step."""
        return Draws(label_drop=torch.rand(batch, generator=generator) < self.config.label_drop)

    def loss(
        self,
        ids: Int[Tensor, "b n"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: None = None,
    ) -> Loss:
        """Mean cross-entropy in nats over all tokens, in the model's own order.

        No `target` can replace ids: no gradient passes them.
        """
        labels = torch.where(draws.label_drop, self.num_classes, labels)
        per_token, accuracy = self.head.loss(self._hidden(ids, labels), ids)
        return Loss(value=per_token.mean(), notes={"accuracy": accuracy})

    def logits(self, ids: Int[Tensor, "b n"], labels: Int[Tensor, " b"]) -> Float[Tensor, "b n v"]:
        """Of every token given those that are drawn before it; the null class is num_classes."""
        return self.head(self._hidden(ids, labels))

    def _hidden(self, ids: Int[Tensor, "b n"], labels: Int[Tensor, " b"]) -> Float[Tensor, "b n w"]:
        """What the head maps to the logits of t_1 … t_n; t_n itself is not looked at."""
        tokens, p = self.token_emb(ids[:, :-1]), self.parallel
        parts = [self.class_emb(labels)[:, None], tokens]
        if self.special_emb is not None:
            specials = self.special_emb.weight.expand(len(ids), -1, -1)
            parts[1:] = [tokens[:, :p], specials, tokens[:, p:]]
        x = self.token_drop(torch.cat(parts, 1))
        m = x.shape[1]
        attend = None if self.attend is None else self.attend[:m, :m]
        for block in self.blocks:
            x = block(x, self.rotation[:m], attend)
        return self.norm(x[:, : self.num_tokens])

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: LlamaSamplerConfig
    ) -> Int[Tensor, "b n"]:
        """Ids in the model's own order; each step feeds those of the step before."""
        batch, n, p = len(labels), self.num_tokens, self.parallel
        uniform = noise.uniform(n)
        starts = [*range(p), *range(p, n, p)]  # the first token that a step draws
        guided = [sampler.guidance > 1 and is_guided(first, p, sampler) for first in starts]
        if any(guided):
            labels = torch.cat((labels, torch.full_like(labels, self.num_classes)))
        cache = self._cache(len(labels))
        ids = torch.empty(batch, n, dtype=torch.long, device=labels.device)
        x = self.class_emb(labels)[:, None]
        for step, first in enumerate(starts):
            if not any(guided[step:]):  # the null class is not needed any more
                x, cache.memory = x[:batch], cache.memory[:, :, :batch]
            logits = self.head(self._advance(x, cache))
            if len(logits) > batch:
                logits, null = logits.chunk(2)
                logits = torch.lerp(null, logits, sampler.guidance) if guided[step] else logits
            logits = filtered(logits / sampler.temperature, sampler.top_k, sampler.top_p)
            drawn = slice(first, first + logits.shape[1])
            flat = draw(logits.flatten(0, 1), 1.0, uniform[:, drawn].flatten())
            ids[:, drawn] = flat.view(batch, -1)
            x = self._following(ids[:, drawn], first + 1 == p).repeat(len(x) // batch, 1, 1)
        return ids

    def _following(self, ids: Int[Tensor, "b k"], is_last: bool) -> Float[Tensor, "b m w"]:
        """The rows that ids just drawn are fed as; special tokens follow the last single one."""
        x = self.token_emb(ids)
        if not is_last or self.special_emb is None:
            return x
        return torch.cat((x, self.special_emb.weight.expand(len(ids), -1, -1)), 1)

    def _advance(self, x: Float[Tensor, "b m w"], cache: KVCache) -> Float[Tensor, "b m w"]:
        """Run the next rows through the blocks; their keys and values become fixed."""
        m = x.shape[1]
        rotation = self.rotation[cache.length : cache.length + m]
        for block, layer in zip(self.blocks, cache.layers(), strict=True):
            x = block(x, rotation, cache=layer)
        cache.advance(m)
        return self.norm(x)

    def _cache(self, batch: int) -> KVCache:
        heads = self.config.num_heads
        shape = (len(self.blocks), batch, heads, self.num_tokens)
        return KVCache(*shape, self.config.width // heads, like=self.head.weight)


def is_guided(first: int, parallel: int, sampler: LlamaSamplerConfig) -> bool:
    """Whether the step that draws token `first`, from 0 on, has guidance.

    Official samplers count tokens anew where groups begin, and always guide the first token.
    """
    last = sampler.guidance_interval
    count = first - 1 if first < parallel else first - parallel
    return first == 0 or last == -1 or count <= last
