"""Compare MAR's sampler with a fixture: it runs as in production, on the fixture's noise."""

from typing import Any

import torch
from torch import Tensor

from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.mar.config import MARSamplerConfig
from nextbasis.families.mar.model import MAR
from nextbasis.official import our_name
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER
from nextbasis.tokenizers.common.patches import unpatchify

RECORDED = ("tokens_before_iter", "mask_before_iter", "cfg_iter", "z", "new")  # per iteration


class RecordedNoise(ImageNoise):
    """Replays the fixture's noise, which is laid out by token position."""

    def __init__(self, fixture: Fixture, name: str) -> None:
        """Noise of one run; `new` becomes the tokens that the present iteration draws."""
        self.order = fixture["sample.orders"].long()
        start, steps = fixture[f"sample.{name}.noise_init"], fixture[f"sample.{name}.noise_steps"]
        self.noise = torch.cat((start[None], steps)).transpose(0, 1)
        self.new = torch.empty(0)

    def orders(self, num_tokens: int) -> Tensor:
        """The fixture's orders."""
        return self.order

    def normal(self, *shape: int) -> Tensor:
        """The start and the noise after every step but the last, of the new tokens."""
        noise = torch.stack(
            [noise[:, new] for noise, new in zip(self.noise, self.new, strict=True)]
        )
        return noise[:, : shape[0]]


class RecordedMAR(MAR):
    """A MAR that writes down what its sampler does in every iteration."""

    record: dict[str, list[Tensor]]

    def _conditions(
        self, y: Tensor, known: Tensor, new: Tensor, labels: Tensor, guided: bool
    ) -> Tensor:
        z = super()._conditions(y, known, new, labels, guided)
        self.record["tokens_before_iter"].append(y.clone())
        hidden = torch.ones_like(y[..., 0]).scatter_(1, known, 0.0)
        self.record["mask_before_iter"].append(hidden)
        self.record["z"].append(z.flatten(0, 2))
        return z

    def _draw_tokens(
        self, draw: Any, z: Tensor, new: Tensor, guidance: float, noise: Any
    ) -> Tensor:
        noise.new = new
        self.record["cfg_iter"].append(torch.tensor(guidance, dtype=torch.float64))
        self.record["new"].append(new)
        return super()._draw_tokens(draw, z, new, guidance, noise)


def run(fixture: Fixture, model: MAR) -> None:
    """Compare every run under sample.*, all of which use the weights meant for sampling."""
    runs = fixture.value("description", "sampling_runs") if fixture.holds("sample.") else {}
    special = fixture.part("weights_sampling.")
    state = model.state_dict() | {our_name("mar", name): t for name, t in special.items()}
    for name, settings in runs.items():
        if not fixture.holds(f"sample.{name}."):
            continue
        recorded = RecordedMAR(model.config, model.spec, RASTER)
        recorded.load_state_dict(state)
        recorded.eval().to(fixture.device)
        check_run(fixture, name, settings, recorded, model.spec.grid[0])


def check_run(
    fixture: Fixture, name: str, settings: dict[str, Any], model: RecordedMAR, height: int
) -> None:
    """Compare tokens, masks, guidance and z of one run."""
    sampler = MARSamplerConfig(
        family="mar",
        **SAMPLER,
        guidance=settings["cfg"],
        guidance_schedule=settings["cfg_schedule"],
        temperature=settings["temperature"],
        num_iter=fixture.value("description", "num_iter"),
        num_steps=fixture.value("description", "diffusion_steps"),
        clip=0.0,
    )
    labels = fixture["sample.labels"].long()
    if not settings.get("labels", True):  # every class becomes the null class
        model.state_dict()["class_emb.weight"][:] = model.null_class.data
    model.record = {key: [] for key in RECORDED}
    out = model.sample(labels, RecordedNoise(fixture, name), sampler)
    tokens = torch.stack(model.record["tokens_before_iter"])
    fixture.check_sampled(name, "tokens_before_iter", tokens)
    for key in ("mask_before_iter", "cfg_iter"):
        fixture.check(f"sample.{name}.{key}", torch.stack(model.record[key]))
    # The official code counts at least one token as hidden.
    revealed = torch.tensor([new.shape[1] for new in model.record["new"]]).cumsum(0)
    left = (model.num_tokens - revealed).clamp(min=1)
    fixture.check(f"sample.{name}.mask_len", left.float())
    fixture.check(f"sample.{name}.z_iter0", model.record["z"][0])
    patch = fixture.value("description", "config", "patch_size")
    fixture.check_sampled(name, "out", unpatchify(out, patch, height))
