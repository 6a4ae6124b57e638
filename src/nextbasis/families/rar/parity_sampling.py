"""Compare RAR's sampler with a fixture: it runs as in production, on the fixture's numbers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.rar import model as backbone
from nextbasis.families.rar.config import RARSamplerConfig
from nextbasis.families.rar.model import RAR
from nextbasis.parity.fixture import Fixture

Draw = Callable[[Tensor, float, Tensor], Tensor]


class RecordedNoise(ImageNoise):
    """Replays the fixture's uniform numbers and orders."""

    def __init__(self, fixture: Fixture) -> None:
        """The uniform numbers are one row per step in the fixture."""
        self.numbers = fixture["in.uniforms"].T
        self.order = fixture["in.orders_perm"].long()

    def uniform(self, *shape: int) -> Tensor:
        """The fixture's numbers (b, n)."""
        return self.numbers

    def orders(self, num_tokens: int) -> Tensor:
        """The fixture's orders."""
        return self.order


def run(fixture: Fixture, model: RAR) -> None:
    """Compare ids and probabilities of every run; gen_perm is gen0 along random orders."""
    if not fixture.holds("out.gen"):
        return
    runs = dict(fixture.value("generation"))
    if fixture.holds("out.gen_perm."):
        runs["gen_perm"] = runs["gen0"]
    for name, settings in runs.items():
        start = float(name == "gen_perm")
        model.order_config = replace(model.order_config, anneal_start=start, anneal_end=start)
        check_run(fixture, f"out.{name}", settings, model)


def check_run(fixture: Fixture, name: str, settings: dict[str, Any], model: RAR) -> None:
    """Compare one run, greedy and by inverting the distribution function."""
    sampler = RARSamplerConfig(
        family="rar",
        num_images=1,
        batch_size=1,
        latency_images=1,
        rounding="round",
        precision="float32",
        compile=False,
        # The official code writes 0 for no guidance, we 1.
        guidance=settings["guidance_scale"] or 1.0,
        guidance_power=settings["guidance_scale_pow"],
        temperature=settings["randomize_temperature"],
    )
    labels, noise = fixture["in.class_ids"].long(), RecordedNoise(fixture)
    modes: dict[str, Draw] = {"icdf": backbone.draw, "greedy": greedy}
    for mode, draw in modes.items():
        if not fixture.holds(f"{name}.{mode}."):
            continue
        with recording(draw) as steps:
            grid = model.sample(labels, noise, sampler)
        drawn = torch.stack([ids for ids, _ in steps], 1)
        fixture.check(f"{name}.{mode}.ids", drawn)
        fixture.check(f"{name}.{mode}.ids_on_grid", grid)
        fixture.check(f"{name}.{mode}.probs", torch.stack([p for _, p in steps], 1))


def greedy(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """The likeliest id."""
    return logits.argmax(-1)


@contextmanager
def recording(draw: Draw) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Let the backbone draw ids with `draw`; collect the ids and probabilities of every step."""
    steps: list[tuple[Tensor, Tensor]] = []

    def recorded(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
        ids = draw(logits, temperature, uniform)
        steps.append((ids, torch.softmax(logits / temperature, -1)))
        return ids

    original, backbone.draw = backbone.draw, recorded
    try:
        yield steps
    finally:
        backbone.draw = original
