"""VAR: next-scale prediction (Tian et al. 2024, "Visual Autoregressive Modeling: Scalable Image
Generation via Next-Scale Prediction").

An image is ids of several levels, grids from coarse to fine, whose codes add up to one map. A
transformer predicts all ids of a level at once from the levels before it: it is fed the map so far,
averaged over the areas of the level's tokens. The first level is fed the class.

b images, n tokens of s levels, m tokens of some of them, c numbers of a code, w the width, v the
codebook's size, u distinct conditions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nextbasis.config import OrderConfig
from nextbasis.data.pyramid import KnownPyramid
from nextbasis.families.common.attention import KVCache
from nextbasis.families.common.backbone import Backbone
from nextbasis.families.common.categorical import CategoricalHead, cumulated, draw, filtered
from nextbasis.families.common.dit import normalised
from nextbasis.families.common.execution import precision
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.parts import Modulation, modulate
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.var.block import LevelBlock
from nextbasis.families.var.config import VARConfig, VARSamplerConfig


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step."""

    label_drop: Bool[Tensor, " b"]
    kept: Bool[Tensor, "b depth 2"]  # whether an image keeps attention and MLP of each block

    def share_level(self) -> "Draws":
        """These draws themselves: ids have no noise level."""
        return self

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(label_drop=self.label_drop[images], kept=self.kept[images])


class VAR(Backbone):
    """The transformer from level to level and its categorical head."""

    level_of: Tensor
    keep_rates: Tensor
    grouped = True

    def __init__(self, config: VARConfig, spec: TokenSpec, order: OrderConfig) -> None:
        """Tokens form levels of one id each; `order` is not used."""
        super().__init__(config, spec, order)
        self.config, width, lengths = config, config.width, spec.level_lengths
        self.num_tokens, self.null_label = spec.num_tokens, spec.num_classes
        self.layout = 1, self.num_tokens
        self.places = [slice(*ends) for ends in pairwise(accumulate(lengths, initial=0))]
        self.pyramid: KnownPyramid | None = None
        self.class_emb = nn.Embedding(spec.num_classes + 1, width)  # the last is the null class
        self.word_embed = Linear(config.code_channels, width)
        self.pos_start = nn.Parameter(torch.empty(1, lengths[0], width))
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_tokens, width))
        self.level_embed = nn.Embedding(len(lengths), width)
        self.shared_modulation = Modulation(width, 6) if config.shared_modulation else None
        self.blocks = nn.ModuleList(LevelBlock(config, lengths) for _ in range(config.depth))
        self.final_modulation = Modulation(width, 2)
        self.head = CategoricalHead(width, spec.codebook_size)
        self._init_weights()
        level_of = levels_of(lengths)
        # Numbers are drawn on the CPU, whatever the device of the buffers.
        self.drawn_rates = 1 - torch.linspace(0, config.drop_path, config.depth)
        self.register_buffer("keep_rates", self.drawn_rates.clone(), persistent=False)
        self.register_buffer("level_of", level_of, persistent=False)
        self.register_buffer("step_of", level_of.clone(), persistent=False)
        self.register_buffer("host_order", torch.arange(self.num_tokens), persistent=False)

    @torch.no_grad()
    def _init_weights(self) -> None:
        """Normal(1 / sqrt(3 w)); less at the ends of branches, in head, modulations and gates."""
        config, width = self.config, self.config.width
        tables = (self.pos_start, self.pos_embed, self.class_emb.weight, self.level_embed.weight)
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        for table in (*tables, *(layer.weight for layer in layers)):
            nn.init.trunc_normal_(table, std=(3 * width) ** -0.5)
        for layer in layers:
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.head.weight.mul_(0.02)
        next(self.final_modulation.parameters()).mul_(0.5)
        for block in self._blocks():
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight.mul_((2 * config.depth) ** -0.5)
            if block.ada_offset is not None:
                modulation = block.ada_offset.normal_(std=width**-0.5)[0, 0]
            else:
                assert block.ada_lin is not None
                modulation = next(block.ada_lin.parameters()).unflatten(0, (6, width))
            modulation[:2].mul_(config.gate_init)
            modulation[2:].mul_(0.5)

    @staticmethod
    def decays(name: str, parameter: Tensor) -> bool:
        """Official recipe: weights of linear layers and the class embedding."""
        spared = ("pos_start", "pos_embed", "level_embed", "ada_offset", "q_norm")
        return parameter.ndim > 1 and not any(part in name for part in spared)

    def attach_codes(self, codes: Mapping[str, Tensor]) -> None:
        """Take what ids stand for from here, before anything else is asked of it.

        Raises: ValueError if they are no codes of such tokens.
        """
        pyramid = KnownPyramid(self.spec.levels, codes)
        found, wanted = pyramid.codebook.shape, (self.spec.size, self.config.code_channels)
        if tuple(found) != wanted:
            raise ValueError(
                f"the codebook has {found[0]} codes of {found[1]} numbers, and the model is of "
                f"{wanted[0]} of model.code_channels={wanted[1]}"
            )
        self.pyramid = pyramid.to(self.pos_embed.device)

    def _known(self) -> KnownPyramid:
        assert self.pyramid is not None, "attach codes first"
        return self.pyramid

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step: labels and branches that are dropped."""
        label_drop = torch.rand(batch, generator=generator) < self.config.label_drop
        uniform = torch.rand(batch, self.config.depth, 2, generator=generator)
        return Draws(label_drop=label_drop, kept=uniform < self.drawn_rates[:, None])

    def loss(
        self,
        ids: Int[Tensor, "b n"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: None = None,
    ) -> Loss:
        """Mean cross-entropy in nats over the tokens of all levels (VAR, section 3.1).

        No `target` can replace ids: no gradient passes them.
        """
        condition = self.class_emb(torch.where(draws.label_drop, self.null_label, labels))
        z = self._hidden(ids, condition, draws.kept)
        per_token, accuracy = self.head.loss(z, ids)
        return Loss(value=per_token.mean(), notes={"accuracy": accuracy})

    def _hidden(
        self, ids: Int[Tensor, "b n"], condition: Float[Tensor, "b w"], kept: Bool[Tensor, "b d 2"]
    ) -> Float[Tensor, "b n w"]:
        """What the head sees at every token, from the levels before it."""
        with precision("float32", ids.device):
            later = self.word_embed(self._known().inputs(ids))
            x = torch.cat((self._first(condition), later), 1) + self._positions()
        told = self._told(condition)
        factors = kept / self.keep_rates[:, None] if self.training else None
        for i, block in enumerate(self.blocks):
            x = block(x, told, None if factors is None else factors[:, i])
        return self._final(x, self.final_modulation(condition)[:, None])

    def _first(self, condition: Float[Tensor, "b w"]) -> Float[Tensor, "b m w"]:
        """What the first level is fed."""
        return condition[:, None] + self.pos_start

    def _positions(self) -> Float[Tensor, "1 n w"]:
        return self.pos_embed + self.level_embed(self.level_of)

    def _told(self, condition: Float[Tensor, "u w"]) -> Float[Tensor, "u k"]:
        """What the blocks are told: the condition, or what the shared layer makes of it."""
        return condition if self.shared_modulation is None else self.shared_modulation(condition)

    def _final(self, x: Float[Tensor, "b m w"], modulation: Tensor) -> Float[Tensor, "b m w"]:
        """What the head sees; `modulation` holds scale and shift (b, 1, 2 w)."""
        return modulate(normalised(x), *modulation.chunk(2, -1))

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: VARSamplerConfig
    ) -> Int[Tensor, "b n"]:
        """Ids level by level, all of a level at once."""
        batch, count, pyramid = len(labels), len(self.places), self._known()
        uniform = noise.uniform(self.num_tokens)
        guided = sampler.guidance > 1 and count > 1
        classes, rows = self._rows(labels, guided)
        conditions = self.class_emb(classes)
        *modulations, final = self._modulations(conditions, rows)
        cache = self._cache(len(rows))
        ids = torch.empty(batch, self.num_tokens, dtype=torch.long, device=labels.device)
        x, total = self._first(conditions[rows]), pyramid.start(batch)
        positions = self._positions()
        for level, places in enumerate(self.places):
            x = self._advance(x + positions[:, places], modulations, cache)
            weight = guidance_at(sampler.guidance, level, count)
            logits = self._logits(x if weight != 1 else x[:batch], final, weight, batch)
            logits = nucleus(filtered(logits, sampler.top_k), sampler.top_p).flatten(0, 1)
            drawn = draw(logits, 1.0, uniform[:, places].flatten()).view(batch, -1)
            ids[:, places] = drawn
            if level + 1 < count:
                with precision("float32", x.device):
                    total = total + pyramid.up(level, pyramid.codebook[drawn])
                    x = self.word_embed(pyramid.down(level + 1, total))
                x = x.repeat(len(rows) // batch, 1, 1)
        return ids

    def _rows(
        self, labels: Int[Tensor, " b"], guided: bool
    ) -> tuple[Int[Tensor, " u"], Int[Tensor, " r"]]:
        """The distinct classes, and which each row has; under guidance null rows come behind."""
        classes, rows = labels.unique(return_inverse=True)
        if guided:
            rows = torch.cat((rows, torch.full_like(rows, len(classes))))
            classes = torch.cat((classes, classes.new_full((1,), self.null_label)))
        return classes, rows

    def _modulations(
        self, conditions: Float[Tensor, "u w"], rows: Int[Tensor, " r"]
    ) -> list[Float[Tensor, "r 1 k"]]:
        """Modulations of every block and the last norm: the same at every level."""
        told = self._told(conditions)
        several = [block.modulation(told) for block in self._blocks()]
        final = self.final_modulation(conditions)[:, None]
        return [each.index_select(0, rows) for each in (*several, final)]

    def _blocks(self) -> Iterable[LevelBlock]:
        for block in self.blocks:
            assert isinstance(block, LevelBlock)
            yield block

    def _advance(
        self, x: Float[Tensor, "r m w"], modulations: list[Tensor], cache: KVCache
    ) -> Float[Tensor, "r m w"]:
        """Run a level through the blocks; its keys and values become fixed."""
        for block, told, layer in zip(self._blocks(), modulations, cache.layers(), strict=True):
            x = block.step(x, told, layer)
        cache.advance(x.shape[1])
        return x

    def _logits(
        self, x: Float[Tensor, "r m w"], final: Tensor, weight: float, batch: int
    ) -> Float[Tensor, "b m v"]:
        """Guided logits of a level, if there are rows of the null class behind those of labels."""
        logits = self.head(self._final(x, final[: len(x)]))
        if len(x) == batch:
            return logits
        logits, null = logits.chunk(2)
        return torch.lerp(null, logits, weight)

    def _cache(self, rows: int) -> KVCache:
        heads = self.config.num_heads
        shape = (len(self.blocks), rows, heads, self.num_tokens, self.config.width // heads)
        return KVCache(*shape, like=self.pos_embed)


def levels_of(lengths: Sequence[int]) -> Int[Tensor, " n"]:
    """The level of each token, given how many each level has."""
    return torch.tensor([level for level, m in enumerate(lengths) for _ in range(m)])


def guidance_at(guidance: float, level: int, num_levels: int) -> float:
    """Guidance that grows linearly from 1 at the first level to full strength at the last."""
    return 1 + (guidance - 1) * level / max(1, num_levels - 1)


def nucleus(logits: Float[Tensor, "*b v"], top_p: float) -> Float[Tensor, "*b v"]:
    """Logits without the least likely ids that together have a probability of at most 1 - top_p.

    Differs from `filtered`: where the likeliest ids have just top_p the next one is left out, and
    ids of equal probability are not all kept. The likeliest one always is.
    """
    if top_p >= 1:
        return logits
    ascending, order = logits.sort(-1)
    unlikely = cumulated(ascending.softmax(-1)) <= 1 - top_p
    unlikely[..., -1] = False
    return logits.masked_fill(torch.empty_like(unlikely).scatter_(-1, order, unlikely), -torch.inf)


MODEL = VAR
