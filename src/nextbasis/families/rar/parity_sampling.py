"""Compare RAR's sampler with a fixture: it runs as in production, on the fixture's numbers."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nextbasis.families.rar import model as backbone
from nextbasis.families.rar.config import RARSamplerConfig
from nextbasis.families.rar.model import RAR
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER, Draw, RecordedUniform, greedy, recording


class RecordedNoise(RecordedUniform):
    """Replays the fixture's uniform numbers and orders."""

    def __init__(self, fixture: Fixture) -> None:
        """The uniform numbers are one row per step in the fixture."""
        super().__init__(fixture["in.uniforms"].T)
        self.order = fixture["in.orders_perm"].long()

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
        **SAMPLER,
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
        drawn: list[Tensor] = []
        with recording(backbone, keeping(draw, drawn), len(labels)) as steps:
            grid = model.sample(labels, noise, sampler)
        fixture.check(f"{name}.{mode}.ids", torch.stack(drawn, 1))
        fixture.check(f"{name}.{mode}.ids_on_grid", grid)
        fixture.check(f"{name}.{mode}.probs", torch.cat(steps, 1).softmax(-1))


def keeping(draw: Draw, drawn: list[Tensor]) -> Draw:
    """`draw`, whose ids of every step are appended to `drawn`."""

    def kept(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
        drawn.append(draw(logits, temperature, uniform))
        return drawn[-1]

    return kept
