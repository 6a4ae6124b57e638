"""Compare our SD-VAE with a fixture: encoder, posterior, attention, decoder, pixels."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.data.posterior import Posterior
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.report import compare
from nextbasis.support.weights import put_weights
from nextbasis.tokenizers.common.blocks import SpatialAttention
from nextbasis.tokenizers.common.parity import outputs
from nextbasis.tokenizers.sdvae.config import SDVAEConfig
from nextbasis.tokenizers.sdvae.model import SDVAE
from nextbasis.tokenizers.sdvae.official import ours

TOLERANCE = 1e-5  # of the largest value
ONE_LEVEL = 1.0  # a tie of a pixel's truncation may fall either way


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of SD-VAE."""
    return fixture.kind == "sdvae"


@torch.no_grad()
def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture)
    found = outputs(model, fixture["in.images"], fixture["in.sample_noise"])
    found["decoded_mean"] = model.decode(found["mean"] * model.scale)
    if fixture.holds("in.rect"):
        found["rect_moments"] = model.encode(fixture["in.rect"])
    for name, value in found.items():
        fixture.check(f"out.{name}", value, tolerance=TOLERANCE)
    if fixture.holds("attn."):
        attention = model.encoder.mid.get_submodule("attn_1")
        assert isinstance(attention, SpatialAttention)
        fixture.check("attn.out", attention(fixture["attn.x"]), tolerance=TOLERANCE)
    if fixture.holds("dg."):
        clamped = Posterior.of(fixture["dg.moments"])
        fixture.check("dg.logvar", clamped.logvar, tolerance=TOLERANCE)
        fixture.check_logarithms("dg.std", clamped.std, TOLERANCE)
    check_pixels(fixture, found["decoded"])


def check_pixels(fixture: Fixture, images: Float[Tensor, "b c h w"]) -> None:
    """Compare grey levels as each of the systems makes them, which all truncate."""
    grey = {
        "out.uint8_dit": 127.5 * images + 128,  # SiT's too
        "out.uint8_repa": 255 * ((images + 1) / 2),
        "out.uint8_mdt": 127.5 * (images + 1),
    }
    for name, values in grey.items():
        if fixture.holds(name):
            levels = values.clamp(0, 255).byte().permute(0, 2, 3, 1).float()
            official = fixture[name].cpu().float()
            fixture.rows.append(compare(name, levels, official, absolute=ONE_LEVEL))


def build(fixture: Fixture) -> SDVAE:
    """The network with the fixture's weights, which have the names of diffusers."""
    model = SDVAE(config_of(fixture.value("config"), fixture.value("scaling_factor")))
    put_weights(model, ours(fixture.part("weights.")))
    return model.eval().to(fixture.device)


def config_of(c: dict[str, Any], scale: float) -> SDVAEConfig:
    """Our config of what the metadata tell."""
    return SDVAEConfig(
        image_channels=c["in_channels"],
        widths=list(c["block_out_channels"]),
        num_blocks=c["layers_per_block"],
        latent_channels=c["latent_channels"],
        groups=c["norm_num_groups"],
        scale=scale,
    )
