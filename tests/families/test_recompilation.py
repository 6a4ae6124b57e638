"""How often compiled blocks are traced: torch's own compiler does the tracing, without kernels."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import _dynamo
from torch._dynamo.utils import counters

from builders import generator, sampler_config, tokens
from nextbasis.families import names
from nextbasis.families.common.execution import compile_blocks
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.noise import ImageNoise

LABELS = torch.tensor([0, 1, 2, 4])


@pytest.fixture(autouse=True)
def traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    _dynamo.reset()
    counters.clear()
    yield
    _dynamo.reset()


def traced() -> int:
    return int(counters["stats"]["unique_graphs"])


def train(made: Generator, family: str, images: int, seed: int) -> None:
    draws = made.draw(4, 0.5, torch.Generator().manual_seed(seed)).part(slice(0, images))
    made.loss(tokens(family)[:images], LABELS[:images], draws).value.backward()


def sample(made: Generator, family: str, images: int) -> None:
    noise = ImageNoise(0, range(images), torch.device("cpu"))
    made.sample(LABELS[:images], noise, sampler_config(family, guidance=2.0))


@pytest.mark.parametrize("family", names())
def test_no_step_after_the_first_two_sizes_is_compiled_again(family: str) -> None:
    """Whatever the size of the batch and, of MAR, the number of tokens that are known."""
    made = generator(family).train()
    compile_blocks(made.backbone)
    for images in (4, 3):
        train(made, family, images, seed=0)
    before = traced()
    assert before > 0
    for seed, images in enumerate((4, 2, 3, 4)):
        train(made, family, images, seed)
    assert traced() == before


@pytest.mark.parametrize("family", names())
def test_no_sample_after_the_first_two_sizes_is_compiled_again(family: str) -> None:
    """Whatever the length of the cache: each step of a sample lengthens it."""
    made = generator(family).eval()
    compile_blocks(made.backbone)
    for images in (4, 3):
        sample(made, family, images)
    before = traced()
    assert 0 < before <= 8
    for images in (2, 4, 3):
        sample(made, family, images)
    assert traced() == before
