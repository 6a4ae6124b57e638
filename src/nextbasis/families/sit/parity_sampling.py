"""Compare SiT's sampler with a fixture: it runs as in production, on the fixture's noise.

The official samplers that the package does not have run by `parity_solvers`.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.sit import parity_solvers
from nextbasis.families.sit.config import SiTSamplerConfig
from nextbasis.families.sit.model import SiT
from nextbasis.families.sit.parity_paths import VP_SAMPLE_EPS, path_of
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER
from nextbasis.tokenizers.common.patches import patchify, unpatchify

GUIDED = 3  # channels that SiT's released sampler guides
STEP_TOLERANCE = 1e-2  # of the times that an adaptive solver chooses
ODES = {
    "euler": parity_solvers.euler,
    "heun2": parity_solvers.heun,
    "dopri5": parity_solvers.dopri5,
}


class RecordedNoise(ImageNoise):
    """Replays the fixture's noise: the start, then that of each step."""

    def __init__(self, start: Tensor, steps: list[Tensor]) -> None:
        """Tokens; of the steps the rows of the labels."""
        self.left = iter([start, *steps])

    def normal(self, *shape: int) -> Tensor:
        """What is next."""
        return next(self.left)


class Calls:
    """Times and rows of the network's calls, as it is told them."""

    def __init__(self, model: SiT) -> None:
        """Listen to the model's embeddings of time and of patches."""
        self.times: list[Tensor] = []
        self.rows: list[int] = []
        self.hooks = [
            model.time_embed.register_forward_pre_hook(
                lambda _, inputs: self.times.append(inputs[0][0])
            ),
            model.patch_embed.register_forward_pre_hook(
                lambda _, inputs: self.rows.append(len(inputs[0]))
            ),
        ]

    def stop(self) -> None:
        """Listen no longer."""
        for hook in self.hooks:
            hook.remove()


def run(fixture: Fixture, model: SiT) -> None:
    """Compare every run of the metadata that the fixture holds."""
    check_run = check_sit if model.config.time_one == "data" else check_repa
    for name, settings in fixture.told("runs").items():
        if fixture.holds(f"sample.{name}."):
            check_run(fixture, model, name, settings)


def both_halves(
    model: SiT,
    x: Float[Tensor, "b2 n d"],
    t: Float[Tensor, " b2"],
    labels: Int[Tensor, " b2"],
    guidance: float,
) -> Float[Tensor, "b2 n d"]:
    """The network's own velocity of the labels' rows and of the null class's, as SiT guides them.

    All rows see the first half of x; channels that are not guided stay each half's own.
    """
    x = torch.cat((x[: len(x) // 2],) * 2)
    out = model.net(x, model.condition(t, labels))[..., : model.channels]
    given, null = out.chunk(2)
    mixed = (null + guidance * (given - null))[..., :GUIDED].repeat(2, 1, 1)
    return torch.cat((mixed, out[..., GUIDED:]), -1)


def noise_of(fixture: Fixture, name: str) -> tuple[Tensor, list[Tensor]]:
    """Start and noise of the steps of a run, as tokens."""
    for key in (f"sample.{name}.noise_steps", f"sample.{name}.noise_steps64"):
        if key in fixture.tensors:
            steps = [patchify(step, 1) for step in fixture[key]]
            break
    else:
        steps = []
    return patchify(fixture[f"sample.{name}.noise_init"], 1), steps


def sampler_of(settings: dict[str, Any], solver: str, num_steps: int) -> SiTSamplerConfig:
    """The package's sampler with these settings of a run."""
    return SiTSamplerConfig(
        family="sit",
        **SAMPLER,
        guidance=settings["cfg"],
        guidance_low=settings.get("low", 0.0),
        guidance_high=settings.get("high", 1.0),
        guided_channels=settings.get("guided_channels", 0),
        solver=solver,
        num_steps=num_steps,
    )


def check_out(fixture: Fixture, model: SiT, run: str, output: str, tokens: Tensor) -> None:
    """Compare drawn tokens, or several of them, with latents."""
    rows = model.spec.sequence[0]
    if tokens.ndim == 4:
        ours = torch.stack([unpatchify(each, 1, rows) for each in tokens])
    else:
        ours = unpatchify(tokens, 1, rows)
    fixture.check_sampled(run, output, ours.float())


@torch.no_grad()
def check_sit(fixture: Fixture, model: SiT, name: str, settings: dict[str, Any]) -> None:
    """Compare a run of SiT: all rows by the official algorithm, and its images by our sampler."""
    labels = fixture[f"sample.{name}.labels"].long()
    start, noise = noise_of(fixture, name)
    guided = settings["cfg"] > 1
    x = torch.cat((start, start)) if guided else start
    rows = torch.cat((labels, torch.full_like(labels, model.null_label))) if guided else labels
    times: list[float] = []

    def field(x: Tensor, t: float) -> Tensor:
        times.append(t)
        told = torch.full((len(x),), t, device=x.device)
        if guided:
            return both_halves(model, x, told, rows, settings["cfg"])
        return model.net(x, model.condition(told, rows))[..., : model.channels]

    stochastic = settings["mode"] == "sde"
    if stochastic:
        sde = sde_of(settings)
        states = sde.run(field, x, noise)
        calls = [t for t in times for _ in range(2)]  # the official one asks for score and drift
        if sde.last in ("Euler", "Tweedie"):
            calls.pop()
        check_out(fixture, model, name, "x_after_first", states[0])
    else:
        states, calls = ODES[settings["method"]](field, x, ode_times(settings)), times
        trajectory = torch.stack(states)[:, : len(labels)]
        check_out(fixture, model, name, "trajectory", trajectory)
    adaptive = settings["method"] == "dopri5"
    fixture.check(
        f"sample.{name}.model_times", torch.tensor(calls), absolute=STEP_TOLERANCE * adaptive
    )
    check_out(fixture, model, name, "out_all_rows", states[-1])
    drawn = states[-1][: len(labels)]
    if solver := ours(settings):
        channels = GUIDED if guided else 0
        steps = settings["num_steps"] - (not stochastic)
        sampler = sampler_of(settings | {"guided_channels": channels}, solver, steps)
        recorded = RecordedNoise(start, [each[: len(labels)] for each in noise])
        drawn = model.sample(labels, recorded, sampler)
    check_out(fixture, model, name, "out", drawn)


def sde_of(settings: dict[str, Any]) -> parity_solvers.SDE:
    """The SDE of a run of SiT."""
    return parity_solvers.SDE(
        path=path_of(settings.get("path", "Linear")),
        form=settings["form"],
        norm=settings.get("norm", 1.0),
        method=settings["method"],
        last=settings["last"],
        num_steps=settings["num_steps"],
        last_size=settings.get("last_step_size", 0.04),
    )


def ode_times(settings: dict[str, Any]) -> list[float]:
    """Output times of a run of SiT."""
    end = 1 - VP_SAMPLE_EPS if settings.get("path") == "VP" else 1.0
    return torch.linspace(0, end, settings["num_steps"], dtype=torch.float64).tolist()


def ours(settings: dict[str, Any]) -> str:
    """The package's solver that does what a run of SiT does; none has an empty name."""
    if settings.get("path", "Linear") != "Linear":
        return ""
    if settings["mode"] == "ode":
        return "euler" if settings["method"] == "euler" else ""
    default = {"method": "Euler", "form": "sigma", "last": "Mean", "norm": 1.0}
    default["last_step_size"] = 0.04
    same = all(settings.get(key, value) == value for key, value in default.items())
    return "euler_maruyama" if same else ""


@torch.no_grad()
def check_repa(fixture: Fixture, model: SiT, name: str, settings: dict[str, Any]) -> None:
    """Compare a run of REPA; on straight paths it is our sampler that draws."""
    labels = fixture[f"sample.{name}.labels"].long()
    start, noise = noise_of(fixture, name)
    calls = Calls(model)
    stochastic = settings["sampler"] == "euler_maruyama_sampler"
    solver = "euler_maruyama" if stochastic else "heun" if settings.get("heun") else "euler"
    sampler = sampler_of(settings, solver, settings["num_steps"])
    if settings.get("path", "linear") == "linear":
        drawn = model.sample(labels, RecordedNoise(start, noise), sampler)
    else:
        drawn = curved(model, labels, start, noise, sampler)
    calls.stop()
    fixture.check(f"sample.{name}.model_times", torch.stack(calls.times))
    fixture.check(f"sample.{name}.model_rows", torch.tensor(calls.rows))
    check_out(fixture, model, name, "out", drawn)


def curved(
    model: SiT, labels: Tensor, start: Tensor, noise: list[Tensor], sampler: SiTSamplerConfig
) -> Tensor:
    """REPA's samplers on the path of sine and cosine: SiT's, backwards in time."""
    ours = model.field(labels, sampler)

    def field(x: Tensor, t: float) -> Tensor:
        return -ours(x, 1 - t, 1 - t).double()

    if sampler.solver == "euler_maruyama":
        sde = parity_solvers.SDE(
            path=path_of("GVP"),
            form="linear",
            norm=1.0,
            method="Euler",
            last="Mean",
            num_steps=sampler.num_steps,
        )
        return sde.run(field, start.double(), noise)[-1]
    return model.sample(labels, RecordedNoise(start, noise), sampler)  # the same on every path
