"""Compare xAR's sampler with a fixture: it runs as in production, on the fixture's noise."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.families.common import flow
from nextbasis.families.common.attention import KVCache
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.xar.config import XARSamplerConfig
from nextbasis.families.xar.model import XAR, Modulations
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER
from nextbasis.tokenizers.common.patches import unpatchify


class RecordedNoise(ImageNoise):
    """Replays the fixture's noise: the start of each cell, then its steps."""

    def __init__(self, fixture: Fixture, name: str) -> None:
        """Noise of one run; an ODE has no steps."""
        self.start = fixture[f"sample.{name}.noise_init"]
        key = f"sample.{name}.noise_sde"
        self.steps = fixture[key] if fixture.holds(key) else self.start[:, :0]
        self.calls = 0

    def normal(self, *shape: int) -> Tensor:
        """Call 0 of a cell is the start, call i + 1 the noise after its i-th step."""
        per_cell = 1 + (self.steps.shape[1] if self.steps.ndim > self.start.ndim else 0)
        cell, call = divmod(self.calls, per_cell)
        self.calls += 1
        return self.start[cell] if call == 0 else self.steps[cell, call - 1]


@dataclass(kw_only=True)
class Call:
    """One network call of a solver."""

    z: Tensor  # the noisy cell
    time: Tensor  # as the network is told
    index: Tensor  # whole thousandths of it
    velocity: Tensor  # rows of the labels, then of the null class if they were computed


class RecordedXAR(XAR):
    """An xAR that writes down its solvers' network calls and its guidance, cell by cell."""

    cells: list[list[Call]]
    guidance: list[float]
    thousandths: Tensor  # of every time of the solver, as the network is told

    def _modulations(self, classes: Tensor, times: list[float]) -> Modulations:
        def keep(_: Any, inputs: tuple[Tensor]) -> None:
            self.thousandths = inputs[0][0]

        hook = self.time_embed.register_forward_pre_hook(keep)
        told = super()._modulations(classes, times)
        hook.remove()
        return told

    def _field(
        self, told: Modulations, index: int, guidance: float, cache: KVCache
    ) -> flow.Velocity:
        field = super()._field(told, index, guidance, cache)
        calls: list[Call] = []
        self.cells.append(calls)
        self.guidance.append(guidance)

        def recorded(z: Tensor, t: float) -> Tensor:
            seen: list[Tensor] = []
            hook = self.pred.register_forward_hook(lambda _, __, out: seen.append(out))
            velocity = field(z, t)
            hook.remove()
            time = torch.full((1, 1), t, dtype=torch.float32, device=z.device)
            index = self.thousandths[told.steps[t]]
            calls.append(Call(z=z.float(), time=time, index=index, velocity=seen[0]))
            return velocity

        return recorded


def run(fixture: Fixture, model: XAR) -> None:
    """Compare every run under sample.*, and the times under sched.*."""
    check_times(fixture, model)
    runs = fixture.value("description", "sampling_runs") if fixture.holds("sample.") else {}
    for name, settings in runs.items():
        if not fixture.holds(f"sample.{name}."):
            continue
        recorded = RecordedXAR(model.config, model.spec, RASTER)
        recorded.load_state_dict(model.state_dict())
        check_run(fixture, name, settings, recorded.eval().to(fixture.device))


def check_times(fixture: Fixture, model: XAR) -> None:
    """Compare the grid of times for every number of steps, and what the network is told of it."""
    for name, number in fixture.numbered("sched.t_"):
        num_steps = int(number)
        times = flow.euler_maruyama_times(num_steps)
        fixture.check(name, torch.tensor(times, dtype=torch.float64))
        seen: list[Tensor] = []
        hook = model.time_embed.register_forward_pre_hook(
            lambda _, inputs, s=seen: s.append(inputs[0])
        )
        told = torch.tensor([times[:-1]], dtype=torch.float64).float().to(fixture.device)
        model.condition(torch.zeros(1, dtype=torch.long, device=fixture.device), told)
        hook.remove()
        fixture.check(f"sched.time_index_{num_steps}", seen[0][0])


@torch.no_grad()
def check_run(fixture: Fixture, name: str, settings: dict[str, Any], model: RecordedXAR) -> None:
    """Compare cells, times, guidance and network outputs of one run."""
    sampler = XARSamplerConfig(
        family="xar",
        **SAMPLER,
        guidance=settings["cfg"],
        solver=settings["sampler"],
        num_steps=settings["num_steps"],
    )
    labels = fixture["sample.labels"].long()
    model.cells, model.guidance = [], []
    out = model.sample(labels, RecordedNoise(fixture, name), sampler)
    cells = out.unflatten(1, (model.num_cells, model.cell_size)).transpose(0, 1)
    index = torch.stack([torch.stack([call.index for call in cell]) for cell in model.cells])
    fixture.check(f"sample.{name}.time_index", index)
    guidance = torch.tensor(model.guidance, dtype=torch.float64)
    fixture.check(f"sample.{name}.cfg_per_cell", guidance)
    fixture.check_sampled(name, "cells", cells)
    if fixture.holds(f"sample.{name}.v_calls"):
        fixture.check(f"sample.{name}.v_calls", both_velocities(model, list(cells), labels))
    raster = torch.empty_like(out).index_copy_(1, model.host_order, out)
    fixture.check_sampled(name, "out", unpatchify(raster, 1, math.isqrt(model.num_tokens)))


def both_velocities(
    model: RecordedXAR, cells: list[Tensor], labels: Tensor
) -> Float[Tensor, "k s b2 m d"]:
    """Outputs of every call for the labels and the null class.

    Null rows that the sampler left out, having no use for them, are computed without a cache.
    """
    null = torch.full_like(labels, model.null_label)
    rows = []
    for clean, calls in enumerate(model.cells):
        for call in calls:
            parts = [call.velocity]
            if len(call.velocity) == len(labels):
                parts.append(plain_velocity(model, cells[:clean], call, null))
            rows.append(torch.cat(parts))
    return torch.stack(rows).unflatten(0, (len(model.cells), -1))


def plain_velocity(model: XAR, clean: list[Tensor], call: Call, labels: Tensor) -> Tensor:
    """Velocity of a cell from one pass over it and all clean cells before it, at time 0."""
    tokens = torch.cat((*clean, call.z), 1)
    time = torch.cat((torch.zeros(1, len(clean), device=labels.device), call.time), 1)
    v = model.velocity(tokens, model.condition(labels, time))
    return v[:, -model.cell_size :]
