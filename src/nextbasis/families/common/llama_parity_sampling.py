"""Compare samplers of LlamaGen's kind with a fixture: they run on the numbers it recorded."""

from typing import Any

import torch

from nextbasis.families.common import llama
from nextbasis.families.common.llama import Llama
from nextbasis.families.common.llama_config import LlamaSamplerConfig
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER, Draw, RecordedUniform, greedy, recording


def check_sampling(fixture: Fixture, model: Llama) -> None:
    """Compare ids and probabilities of every run, greedy and by inverting the distribution."""
    if not fixture.holds("out.gen"):
        return
    labels, noise = fixture["in.class_ids"].long(), RecordedUniform(fixture["in.uniforms"])
    modes: dict[str, Draw] = {"icdf": llama.draw, "greedy": greedy}
    for run, settings in enumerate(fixture.value("generation")):
        sampler = sampler_of(fixture.kind, settings)
        for mode, draw in modes.items():
            name = f"out.gen{run}.{mode}"
            if not fixture.holds(f"{name}."):
                continue
            with recording(llama, draw, len(labels)) as steps:
                ids = model.sample(labels, noise, sampler)
            fixture.check(f"{name}.ids", ids)
            on_grid = torch.empty_like(ids).index_copy_(1, model.host_order, ids)
            fixture.check(f"{name}.ids_on_grid", on_grid)
            limit = fixture.value("tolerance", "probs")
            fixture.check(f"{name}.probs", torch.cat(steps, 1).softmax(-1), absolute=limit)


def sampler_of(family: str, settings: dict[str, Any]) -> LlamaSamplerConfig:
    """The sampler that the fixture's metadata state."""
    return LlamaSamplerConfig(
        family=family,
        **SAMPLER,
        guidance=settings["cfg_scale"],
        guidance_interval=settings["cfg_interval"],
        temperature=settings["temperature"],
        top_k=settings["top_k"],
        top_p=settings["top_p"],
    )
