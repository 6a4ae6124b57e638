"""What MAR costs: FLOPs and memory, counted from its config.

Training spares MAR's last block and its head the tokens that are not hidden. Sampling computes
encoder and decoder anew in every iteration, as published.
"""

import math
from statistics import NormalDist, fmean

from nextbasis.basis import orders
from nextbasis.config import TrainStage
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.mar.config import MARConfig, MARSamplerConfig
from nextbasis.plan.flops import Flops, of_products, of_text, of_time
from nextbasis.plan.memory import Layer

QUANTILES = 64  # of the random share of hidden tokens, over which costs are averaged


def forward(model: MARConfig, spec: TokenSpec) -> Flops:
    """The loss of one image, on average over the random share of hidden tokens."""
    works = [forward_hiding(model, spec, hidden) for hidden in hidden_tokens(model, spec)]
    text = of_text(model.encoder_width, model.text_depth, spec.text)
    return Flops(fmean(w.transformer for w in works) + text, fmean(w.head for w in works))


def sampling(model: MARConfig, spec: TokenSpec, sampler: MARSamplerConfig) -> Flops:
    """One image without guidance."""
    left = orders.hidden_counts(spec.num_tokens, sampler.num_iter)
    before = [spec.num_tokens, *left[:-1]]
    every = model.buffer_size + spec.num_tokens
    transformer = sum(_transformer(model, spec, hidden, every) for hidden in before)
    step = _head(model, spec) + _conditions(model) + of_time(model.head_width)
    return Flops(transformer, spec.num_tokens * sampler.num_steps * step)


def hidden_tokens(model: MARConfig, spec: TokenSpec) -> list[int]:
    """Numbers of hidden tokens in training at evenly spaced quantiles of the distribution."""
    n, std = spec.num_tokens, model.mask_ratio_std
    low = NormalDist().cdf((model.mask_ratio_min - 1) / std)
    quantiles = [(i + 0.5) / QUANTILES for i in range(QUANTILES)]
    ratios = [1 + std * NormalDist().inv_cdf(low + q * (0.5 - low)) for q in quantiles]
    return [min(n, math.ceil(n * ratio)) for ratio in ratios]


def forward_hiding(model: MARConfig, spec: TokenSpec, hidden: int) -> Flops:
    """The loss of one image that hides this many tokens."""
    rows = hidden * model.head_batch_mul
    head = rows * _head(model, spec) + hidden * _conditions(model)
    return Flops(_transformer(model, spec, hidden, hidden), head)


def _transformer(model: MARConfig, spec: TokenSpec, hidden: int, asked: int) -> int:
    """Encoder and decoder, whose last block computes the `asked` rows only."""
    n, width, decoder = spec.num_tokens, model.encoder_width, model.decoder_width
    known, every = model.buffer_size + n - hidden, model.buffer_size + n

    def block(queries: int, keys: int, w: int) -> int:
        per_query = 2 * w**2 + 2 * w * int(model.mlp_ratio * w)
        return 2 * (queries * per_query + keys * 2 * w**2) + of_products(queries, keys, w)

    return (
        2 * (n - hidden) * spec.channels * width
        + model.encoder_depth * block(known, known, width)
        + 2 * known * width * decoder
        + (model.decoder_depth - 1) * block(every, every, decoder)
        + block(asked, every, decoder)
    )


def _head(model: MARConfig, spec: TokenSpec) -> int:
    """One noisy token through the diffusion network, what it is told of z and time apart."""
    w = model.head_width
    last = 2 * w**2 + w * 2 * spec.channels
    return 2 * (spec.channels * w + 5 * w**2 * model.head_depth + last)


def _conditions(model: MARConfig) -> int:
    """One z to the width of the head; in training once for all noise levels of a token."""
    return 2 * model.decoder_width * model.head_width


def activations(model: MARConfig, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass, for every number of hidden tokens."""
    return [_kept(model, spec, hidden) for hidden in set(hidden_tokens(model, spec))]


def _kept(model: MARConfig, spec: TokenSpec, hidden: int) -> tuple[list[Layer], int]:
    n, head = spec.num_tokens, model.head_width

    def layer(depth: int, rows: int, w: int) -> Layer:
        h = int(model.mlp_ratio * w)
        return Layer(depth, rows, w, kept=8 * w + 2 * h, masks=2 * w + h)

    rows = hidden * model.head_batch_mul
    layers = [
        layer(model.encoder_depth, model.buffer_size + n - hidden, model.encoder_width),
        layer(model.decoder_depth, model.buffer_size + n, model.decoder_width),
        Layer(model.head_depth, rows, head, kept=10 * head, masks=0),
    ]
    return layers, rows * 6 * head + hidden * 2 * model.decoder_width


def sequence(model: MARConfig, spec: TokenSpec) -> str:
    """Tokens that attention sees in training, of the encoder and of the decoder."""
    hidden, every = hidden_tokens(model, spec), model.buffer_size + spec.num_tokens
    return f"{every - max(hidden)}..{every - min(hidden)} + {every}"


def noise_levels(model: MARConfig) -> int:
    """Noise levels at which a step sees each token."""
    return model.head_batch_mul


def layout(model: MARConfig, spec: TokenSpec) -> tuple[int, int]:
    """Rows and columns of the tokens, which a structured A takes apart."""
    return spec.grid


def notes(config: TrainStage) -> list[str]:
    """MAR has no schedule of its own that is easily overlooked."""
    return []
