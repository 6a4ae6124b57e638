"""What MDTv2 costs: FLOPs and memory, counted from its config.

Training passes every image twice, the second time with a part of its patches through the encoder.
Sampling passes it once a step, without the side block.
"""

from statistics import fmean

from nextbasis.config import TrainStage
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.mdtv2.config import MDTv2Config, MDTv2SamplerConfig
from nextbasis.plan.flops import Flops, of_products, of_time
from nextbasis.plan.memory import Layer

QUANTILES = 64  # of the random share of hidden patches, over which costs are averaged


def forward(model: MDTv2Config, spec: TokenSpec) -> Flops:
    """The loss of one image, on average over the random share of hidden patches."""
    masked = fmean(_pass(model, spec, kept, side=1) for kept in kept_counts(model, spec))
    return Flops(_pass(model, spec, _patches(model, spec), side=0) + masked, 0.0)


def sampling(model: MDTv2Config, spec: TokenSpec, sampler: MDTv2SamplerConfig) -> Flops:
    """One image without guidance."""
    once = _pass(model, spec, _patches(model, spec), side=0)
    return Flops(float(sampler.num_steps * once), 0.0)


def kept_counts(model: MDTv2Config, spec: TokenSpec) -> list[int]:
    """Numbers of patches that are not hidden, at evenly spaced quantiles of the distribution."""
    ratios = [
        model.mask_ratio + model.mask_spread * (i + 0.5) / QUANTILES for i in range(QUANTILES)
    ]
    return [max(1, int(_patches(model, spec) * (1 - ratio))) for ratio in ratios]


def _patches(model: MDTv2Config, spec: TokenSpec) -> int:
    return spec.num_tokens // model.patch**2


def _hidden(model: MDTv2Config) -> int:
    """The width inside the MLP."""
    return int(model.width * model.mlp_ratio)


def _pass(model: MDTv2Config, spec: TokenSpec, kept: int, side: int) -> int:
    """One pass of one image that shows `kept` patches to the encoder."""
    w, every = model.width, _patches(model, spec)
    encoder, decoder = model.depth - model.decoder_depth, model.decoder_depth

    def block(rows: int) -> int:
        per_row = 4 * w**2 + 2 * w * _hidden(model)
        return 2 * (rows * per_row + 6 * w**2) + of_products(rows, rows, w)

    shortcuts = 2 * 2 * w**2 * (encoder // 2 * kept + decoder * every)
    ends = 2 * every * w * 3 * spec.channels * model.patch**2 + 2 * 2 * w**2 + of_time(w)
    return encoder * block(kept) + (decoder + side) * block(every) + shortcuts + ends


def activations(model: MDTv2Config, spec: TokenSpec) -> list[tuple[list[Layer], int]]:
    """Blocks and other numbers kept for the backward pass, for every number of shown patches."""
    return [_kept(model, spec, kept) for kept in set(kept_counts(model, spec))]


def _kept(model: MDTv2Config, spec: TokenSpec, kept: int) -> tuple[list[Layer], int]:
    w, h, every = model.width, _hidden(model), _patches(model, spec)
    half, decoder = (model.depth - model.decoder_depth) // 2, model.decoder_depth

    def layer(count: int, rows: int, shortcut: int) -> Layer:
        # Scores are kept: what is added to them has a gradient.
        numbers = (12 + 2 * shortcut) * w + 2 * h + model.num_heads * rows
        return Layer(count, rows, w, kept=numbers, masks=2 * w + h)

    layers = [
        layer(half, kept, 0),
        layer(half, kept, 1),
        layer(half + 1, every, 0),
        layer(half + 2 * decoder, every, 1),
    ]
    blocks = sum(each.count for each in layers)
    passes = 2 * every * (4 * w + 10 * spec.channels * model.patch**2)
    return layers, passes + blocks * 8 * w + 2 * kept**2


def sequence(model: MDTv2Config, spec: TokenSpec) -> str:
    """Patches that attention sees in training, of both passes' encoders."""
    counts = kept_counts(model, spec)
    return f"{_patches(model, spec)} + {min(counts)}..{max(counts)}"


def noise_levels(model: MDTv2Config) -> int:
    """Passes in which a step sees each token, both at one noise level."""
    return 2


def layout(model: MDTv2Config, spec: TokenSpec) -> tuple[int, int]:
    """Rows and columns of the tokens, which a structured A takes apart."""
    return spec.grid


def notes(config: TrainStage) -> list[str]:
    """MDTv2 has no schedule of its own that is easily overlooked."""
    return []
