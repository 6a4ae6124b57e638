"""How many FLOPs the matrix products of a model take, counted from its config.

A multiplication and an addition are two FLOPs. Training is counted as it is computed here, where
MAR's last block and head are spared tokens that are not hidden. Sampling is counted as published:
MAR computes encoder and decoder anew in every iteration, xAR and RAR keep keys and values, and with
guidance everything is done twice. The samplers here compute less.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Any

from nextbasis import orders
from nextbasis.config import MARConfig, RARConfig, XARConfig
from nextbasis.generator import TokenSpec
from nextbasis.layers.text import MLP_RATIO, TextSpec

QUANTILES = 64  # of MAR's random share of hidden tokens, over which costs are averaged
FREQUENCIES = 256  # of layers.parts.TimeEmbedding
BACKWARD = 2  # forward passes that a backward pass costs


@dataclass(frozen=True)
class Flops:
    """Per image; `head` is MAR's diffusion network or RAR's map to logits."""

    transformer: float
    head: float

    @property
    def total(self) -> float:
        """Both parts."""
        return self.transformer + self.head

    def times(self, factor: float) -> "Flops":
        """The work done `factor` times."""
        return Flops(self.transformer * factor, self.head * factor)


def training(model: Any, spec: TokenSpec, recompute: bool) -> Flops:
    """Forward and backward pass of one image, on average; `recompute` adds a forward pass."""
    return forward(model, spec).times(1 + BACKWARD + recompute)


def forward(model: Any, spec: TokenSpec) -> Flops:
    """The loss of one image, on average over MAR's random share of hidden tokens."""
    if isinstance(model, MARConfig):
        works = [mar_forward(model, spec, hidden) for hidden in hidden_tokens(model, spec)]
        text = _text(model.encoder_width, model.text_depth, spec.text)
        return Flops(fmean(w.transformer for w in works) + text, fmean(w.head for w in works))
    if isinstance(model, XARConfig):
        cells = model.cells_per_side**2
        passes = [(cell, 1) for cell in range(cells)]
        text = _text(model.width, model.text_depth, spec.text)
        return Flops(_xar(model, spec, passes) + text, 0.0)
    rows = spec.num_tokens + 1  # cls, class and all tokens but the last
    return _rar(model, spec, _products(rows, rows, model.width))


def sampling(model: Any, spec: TokenSpec, sampler: Any) -> Flops:
    """One image as published."""
    halves = 2 if sampler.guidance > 1 else 1
    if isinstance(model, MARConfig):
        return _mar_sampling(model, spec, sampler.num_iter, sampler.num_steps).times(halves)
    if isinstance(model, XARConfig):
        cells = model.cells_per_side**2
        # Every clean cell but the last passes once more: its keys and values are kept.
        passes = [(cell, sampler.num_steps + (cell + 1 < cells)) for cell in range(cells)]
        return Flops(_xar(model, spec, passes), 0.0).times(halves)
    lengths = range(1, spec.num_tokens + 2)
    attention = sum(_products(1, length, model.width) for length in lengths)
    return _rar(model, spec, attention).times(halves)


def hidden_tokens(model: MARConfig, spec: TokenSpec) -> list[int]:
    """Numbers of hidden tokens in training at evenly spaced quantiles of MAR's distribution."""
    n, std = spec.num_tokens, model.mask_ratio_std
    low = NormalDist().cdf((model.mask_ratio_min - 1) / std)
    quantiles = [(i + 0.5) / QUANTILES for i in range(QUANTILES)]
    ratios = [1 + std * NormalDist().inv_cdf(low + q * (0.5 - low)) for q in quantiles]
    return [min(n, math.ceil(n * ratio)) for ratio in ratios]


def mar_forward(model: MARConfig, spec: TokenSpec, hidden: int) -> Flops:
    """The loss of one image that hides this many tokens."""
    rows = hidden * model.head_batch_mul
    head = rows * _mar_head(model, spec) + hidden * _conditions(model)
    return Flops(_mar_transformer(model, spec, hidden, hidden), head)


def _mar_sampling(model: MARConfig, spec: TokenSpec, num_iter: int, num_steps: int) -> Flops:
    left = orders.hidden_counts(spec.num_tokens, num_iter)
    before = [spec.num_tokens, *left[:-1]]
    every = model.buffer_size + spec.num_tokens
    transformer = sum(_mar_transformer(model, spec, hidden, every) for hidden in before)
    step = _mar_head(model, spec) + _conditions(model) + _times(model.head_width)
    return Flops(transformer, spec.num_tokens * num_steps * step)


def _mar_transformer(model: MARConfig, spec: TokenSpec, hidden: int, asked: int) -> float:
    """Encoder and decoder, whose last block computes the `asked` rows only."""
    n, width, decoder = spec.num_tokens, model.encoder_width, model.decoder_width
    known, every = model.buffer_size + n - hidden, model.buffer_size + n

    def block(queries: int, keys: int, w: int) -> float:
        per_query = 2 * w**2 + 2 * w * int(model.mlp_ratio * w)
        return 2 * (queries * per_query + keys * 2 * w**2) + _products(queries, keys, w)

    return (
        2 * (n - hidden) * spec.channels * width
        + model.encoder_depth * block(known, known, width)
        + 2 * known * width * decoder
        + (model.decoder_depth - 1) * block(every, every, decoder)
        + block(asked, every, decoder)
    )


def _mar_head(model: MARConfig, spec: TokenSpec) -> float:
    """One noisy token through the diffusion network, what it is told of z and time apart."""
    w = model.head_width
    last = 2 * w**2 + w * 2 * spec.channels
    return 2 * (spec.channels * w + 5 * w**2 * model.head_depth + last)


def _conditions(model: MARConfig) -> float:
    """One z to the width of the head; in training once for all noise levels of a token."""
    return 2 * model.decoder_width * model.head_width


def _times(width: int) -> float:
    """One time embedding; MAR's training makes a table of them once for a batch: not counted."""
    return 2 * (FREQUENCIES * width + width**2)


def _xar(model: XARConfig, spec: TokenSpec, passes: list[tuple[int, int]]) -> float:
    """Cells through the transformer: (which, how often); a cell attends to those before it."""
    w, m = model.width, spec.num_tokens // model.cells_per_side**2
    depth = model.encoder_depth + model.decoder_depth
    weights = 4 * w**2 + 3 * w * int(w * 4 * 2 / 3.0)
    per_token = depth * weights + w**2 + 2 * w * spec.channels
    once = 2 * m * per_token + 2 * depth * 6 * w**2 + _times(w)
    return sum(count * (once + depth * _products(m, m * (cell + 1), w)) for cell, count in passes)


def _text(width: int, depth: int, text: TextSpec | None) -> float:
    """One caption through its embedding; in sampling it is left out, once against many steps."""
    if text is None:
        return 0.0
    s = text.num_tokens
    block = 2 * s * (4 + 2 * MLP_RATIO) * width**2 + _products(s, s, width)
    return 2 * s * text.width * width + depth * block


def _rar(model: RARConfig, spec: TokenSpec, attention: float) -> Flops:
    """One sequence; `attention` is that of one block."""
    w, rows = model.width, spec.num_tokens + 1
    weights = (4 + 6) * w**2 + 2 * w * model.mlp_width
    blocks = model.depth * (2 * rows * weights + attention)
    logits = 2 * spec.num_tokens * w * spec.codebook_size
    return Flops(blocks + 2 * rows * 2 * w**2, logits)


def _products(queries: int, keys: int, width: int) -> float:
    """Queries with keys, and weights with values."""
    return 4 * queries * keys * width
