"""Compare samplers of LlamaGen's kind with a fixture: they run on the numbers it recorded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nextbasis.families.common import llama
from nextbasis.families.common.llama import Llama
from nextbasis.families.common.llama_config import LlamaSamplerConfig
from nextbasis.families.common.noise import ImageNoise
from nextbasis.parity.fixture import Fixture

Draw = Callable[[Tensor, float, Tensor], Tensor]


class RecordedNoise(ImageNoise):
    """Replays the fixture's uniform numbers."""

    def __init__(self, numbers: Tensor) -> None:
        """`numbers` are those of all images and tokens (b, n)."""
        self.numbers = numbers

    def uniform(self, *shape: int) -> Tensor:
        """The fixture's numbers."""
        return self.numbers


def check_sampling(fixture: Fixture, model: Llama) -> None:
    """Compare ids and probabilities of every run, greedy and by inverting the distribution."""
    if not fixture.holds("out.gen"):
        return
    labels, noise = fixture["in.class_ids"].long(), RecordedNoise(fixture["in.uniforms"])
    modes: dict[str, Draw] = {"icdf": llama.draw, "greedy": greedy}
    for run, settings in enumerate(fixture.value("generation")):
        sampler = sampler_of(fixture.kind, settings)
        for mode, draw in modes.items():
            name = f"out.gen{run}.{mode}"
            if not fixture.holds(f"{name}."):
                continue
            with recording(draw, len(labels)) as steps:
                ids = model.sample(labels, noise, sampler)
            fixture.check(f"{name}.ids", ids)
            on_grid = torch.empty_like(ids).index_copy_(1, model.host_order, ids)
            fixture.check(f"{name}.ids_on_grid", on_grid)
            limit = fixture.value("tolerance", "probs")
            fixture.check(f"{name}.probs", torch.cat(steps, 1), absolute=limit)


def sampler_of(family: str, settings: dict[str, Any]) -> LlamaSamplerConfig:
    """The sampler that the fixture's metadata state."""
    return LlamaSamplerConfig(
        family=family,
        num_images=1,
        batch_size=1,
        latency_images=1,
        rounding="round",
        precision="float32",
        compile=False,
        guidance=settings["cfg_scale"],
        guidance_interval=settings["cfg_interval"],
        temperature=settings["temperature"],
        top_k=settings["top_k"],
        top_p=settings["top_p"],
    )


def greedy(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """The likeliest id."""
    return logits.argmax(-1)


@contextmanager
def recording(draw: Draw, batch: int) -> Iterator[list[Tensor]]:
    """Let the model draw ids with `draw`; collect the probabilities (b, m, v) of every step."""
    steps: list[Tensor] = []

    def recorded(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
        steps.append(torch.softmax(logits / temperature, -1).unflatten(0, (batch, -1)))
        return draw(logits, temperature, uniform)

    original, llama.draw = llama.draw, recorded
    try:
        yield steps
    finally:
        llama.draw = original
