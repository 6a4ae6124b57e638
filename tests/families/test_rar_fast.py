"""RAR's sampler against a plain one that runs the whole sequence again for every token."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from builders import generator, order_config, sampler_config
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.rar.model import RAR, Draws

LABELS = torch.tensor([3, 0, 3, 1])
NUM_TOKENS, CODEBOOK = 16, 11


def model(start: float = 0.5, scan: str = "raster", **changes: Any) -> RAR:
    order = order_config(scan, start, max(start, 0.75))
    made: Any = generator("rar", order=order, **changes).backbone
    return made.eval()


def noise() -> ImageNoise:
    return ImageNoise(5, range(len(LABELS)), torch.device("cpu"))


def all_logits(backbone: RAR, ids: Tensor, order: Tensor, null: bool) -> Tensor:
    """The logits of every token, as the training loss computes them."""
    seen: list[Tensor] = []
    hook = backbone.head.register_forward_hook(lambda module, inputs, out: seen.append(out))
    drop = torch.full((len(ids),), null)
    backbone.loss(ids, LABELS, Draws(order=order, label_drop=drop))
    hook.remove()
    return seen[0]


@torch.no_grad()
def plain_sample(backbone: RAR, guidance: float, power: float, temperature: float) -> Tensor:
    """The published sampler, without any cache."""
    random, n = noise(), NUM_TOKENS
    always_random = backbone.order_config.anneal_start >= 1
    order = random.orders(n) if always_random else backbone.scan.expand(len(LABELS), -1)
    uniform = random.uniform(n)
    ids = torch.zeros(len(LABELS), n, dtype=torch.long)
    for k in range(n):
        logits = all_logits(backbone, ids, order, null=False)[:, k].double()
        null = all_logits(backbone, ids, order, null=True)[:, k].double()
        scale = 1 + (guidance - 1) / 2 * (1 - math.cos(math.pi * (k / n) ** power))
        total = torch.softmax((null + scale * (logits - null)) / temperature, -1).cumsum(-1)
        drawn = (total <= uniform[:, k : k + 1]).sum(-1).clamp(max=CODEBOOK - 1)
        ids.scatter_(1, order[:, k : k + 1], drawn[:, None])
    return ids


@pytest.mark.parametrize("start", [0.5, 1.0])
@pytest.mark.parametrize("scan", ["raster", "spiral_in"])
@pytest.mark.parametrize(
    ("guidance", "power", "temperature"),
    [(1.0, 1.0, 1.0), (4.0, 1.2, 1.0), (4.0, 0.0, 1.02), (3.0, 2.75, 0.7)],
)
def test_the_sampler_equals_the_plain_one(
    start: float, scan: str, guidance: float, power: float, temperature: float
) -> None:
    backbone = model(start, scan)
    settings = {"guidance": guidance, "guidance_power": power, "temperature": temperature}
    ids = backbone.sample(LABELS, noise(), sampler_config("rar", **settings))
    assert torch.equal(ids, plain_sample(backbone, guidance, power, temperature))
    assert len(ids.unique()) > 3


def test_samples_do_not_depend_on_the_batch() -> None:
    backbone, config = model(), sampler_config("rar", guidance=4.0)
    together = backbone.sample(LABELS, noise(), config)
    for i in range(len(LABELS)):
        alone = ImageNoise(5, [i], torch.device("cpu"))
        assert torch.equal(backbone.sample(LABELS[i : i + 1], alone, config), together[i : i + 1])


def test_surplus_rows_are_never_read() -> None:
    plain, wide = model(), model(surplus_positions=6, surplus_timesteps=3)
    with torch.no_grad():
        for name, parameter in wide.named_parameters():
            small = plain.get_parameter(name)
            parameter.fill_(torch.nan)
            parameter[tuple(slice(size) for size in small.shape)] = small
    config = sampler_config("rar")
    assert torch.equal(wide.sample(LABELS, noise(), config), plain.sample(LABELS, noise(), config))
    ids = torch.randint(CODEBOOK, (len(LABELS), NUM_TOKENS))
    order = plain.scan.expand(len(LABELS), -1)
    wanted = all_logits(plain, ids, order, null=False)
    assert torch.equal(all_logits(wide, ids, order, null=False), wanted)


@torch.no_grad()
def test_bf16_stays_near_single_precision() -> None:
    """bf16 keeps 8 bits: rounding of some parts in a thousand, in logits of size 1."""
    backbone = model()
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(CODEBOOK, (len(LABELS), NUM_TOKENS), generator=random)
    draws = backbone.draw(len(LABELS), 0.6, random)
    exact = backbone.loss(ids, LABELS, draws).value
    logits = all_logits(backbone, ids, draws.order, null=False)
    with torch.autocast("cpu", torch.bfloat16):
        loss = backbone.loss(ids, LABELS, draws).value
        half = all_logits(backbone, ids, draws.order, null=False)
        sampled = backbone.sample(LABELS, noise(), sampler_config("rar"))
    assert loss.dtype == torch.float32 and half.dtype == torch.float32
    torch.testing.assert_close(loss, exact, atol=2e-2, rtol=0)
    torch.testing.assert_close(half, logits, atol=0.1, rtol=0)
    assert sampled.min() >= 0 and sampled.max() < CODEBOOK
