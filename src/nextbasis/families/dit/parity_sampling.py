"""Compare DiT's samplers with a fixture: they run as in production, on the fixture's noise."""

from typing import Any

from torch import Tensor

from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.dit.config import DiTConfig, DiTSamplerConfig
from nextbasis.families.dit.implicit import Predict
from nextbasis.families.dit.model import DiT
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER
from nextbasis.tokenizers.common.patches import patchify, unpatchify

GUIDED_CHANNELS = 3  # a literal in the official code


class RecordedNoise(ImageNoise):
    """Replays the fixture's noise: the start, then that of every step.

    The official code draws as much for the rows of the null class, behind the others.
    """

    def __init__(self, fixture: Fixture, name: str) -> None:
        """Noise of one run; DDIM has no steps."""
        start, steps = (fixture[f"sample.{name}.noise_{part}"] for part in ("init", "steps"))
        self.left = [patchify(each, 1) for each in (start, *(step[: len(start)] for step in steps))]

    def normal(self, *shape: int) -> Tensor:
        """The next numbers."""
        return self.left.pop(0)


class RecordedDiT(DiT):
    """A DiT that writes down what its sampler shows the network."""

    seen: list[Tensor]

    def _predictor(self, labels: Tensor, sampler: DiTSamplerConfig) -> Predict:
        predict = super()._predictor(labels, sampler)
        self.seen = []

        def recorded(x: Tensor, step: int) -> tuple[Tensor, Tensor]:
            self.seen.append(x)
            return predict(x, step)

        return recorded


def run(fixture: Fixture, model: DiT) -> None:
    """Compare every run under sample.*."""
    runs = fixture.value("runs") if fixture.holds("sample.") else {}
    assert isinstance(model.config, DiTConfig)
    recorded = RecordedDiT(model.config, model.spec, RASTER)
    recorded.load_state_dict(model.state_dict())
    recorded.eval().to(fixture.device)
    for name, settings in runs.items():
        if fixture.holds(f"sample.{name}."):
            check_run(fixture, name, settings, recorded)


def check_run(fixture: Fixture, name: str, settings: dict[str, Any], model: RecordedDiT) -> None:
    """Compare the first step, the middle and the end of one run."""
    sampler = DiTSamplerConfig(
        family="dit",
        **SAMPLER,
        guidance=settings["cfg"],
        guided_channels=GUIDED_CHANNELS,
        solver=settings["method"],
        num_steps=int(settings["respacing"].removeprefix("ddim")),
    )
    labels = fixture[f"sample.{name}.labels"]
    out = model.sample(labels, RecordedNoise(fixture, name), sampler)
    found = {
        "x_after_first": model.seen[1],
        "x_half": model.seen[sampler.num_steps // 2],
        "out": out,
    }
    for output, tokens in found.items():
        fixture.check_sampled(name, output, unpatchify(tokens, 1, model.spec.grid[0]))
