"""Compare MDTv2's sampler with a fixture: it runs as in production, on the fixture's noise."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from nextbasis.families.common.dit import Rows
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.mdtv2.config import MDTv2SamplerConfig
from nextbasis.families.mdtv2.model import MDTv2
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER

GUIDED = 3  # channels, a literal in the official code


class RecordedNoise(ImageNoise):
    """Replays the fixture's noise: the start, then that of every step, of the first rows."""

    def __init__(self, fixture: Fixture, name: str) -> None:
        """Noise of one run."""
        start, steps = fixture[f"sample.{name}.noise_init"], fixture[f"sample.{name}.noise_steps"]
        self.numbers = iter([start, *steps[:, : len(start)]])

    def normal(self, *shape: int) -> Tensor:
        """The next numbers."""
        return rearrange(next(self.numbers), "b c h w -> b (h w) c")


class RecordedMDTv2(MDTv2):
    """An MDTv2 that writes down what its network is shown."""

    seen: list[Tensor]

    def net(
        self, tokens: Tensor, y: Tensor, rows: Rows = None, kept: Tensor | None = None
    ) -> Tensor:
        """The network; only the first half of the rows differ under guidance."""
        self.seen.append(tokens)
        return super().net(tokens, y, rows, kept)


def sampler_of(guidance: float, power: float, num_steps: int) -> MDTv2SamplerConfig:
    """A sampler of the official code."""
    return MDTv2SamplerConfig(
        family="mdtv2",
        **SAMPLER | {"rounding": "truncate"},
        guidance=guidance,
        guided_channels=GUIDED,
        guidance_power=power,
        num_steps=num_steps,
    )


def run(fixture: Fixture, model: MDTv2) -> None:
    """Compare every run under sample.*."""
    recorded = RecordedMDTv2(model.config, model.spec, RASTER)
    recorded.load_state_dict(model.state_dict())
    recorded.eval().to(fixture.device)
    for name, settings in fixture.value("runs").items():
        if fixture.holds(f"sample.{name}."):
            check_run(fixture, name, settings, recorded)


@torch.no_grad()
def check_run(fixture: Fixture, name: str, settings: dict[str, Any], model: RecordedMDTv2) -> None:
    """Compare tokens after the first step, half of the steps and all."""
    count, labels = int(settings["respacing"]), fixture[f"sample.{name}.labels"]
    sampler = sampler_of(settings["cfg"] or 1.0, settings["pow"] or 1.0, count)
    model.seen = []
    out = model.sample(labels, RecordedNoise(fixture, name), sampler)
    found = {"x_after_first": model.seen[1], "x_half": model.seen[count // 2], "out": out}
    for output, tokens in found.items():
        rows = rearrange(tokens[: len(labels)], "b (h w) c -> b c h w", h=model.layout[0])
        fixture.check_sampled(name, output, rows)
