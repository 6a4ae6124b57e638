"""Compare our KL-16 with a fixture: encoder, posterior, decoder, pixels."""

from typing import Any

import torch

from nextbasis.data.posterior import Posterior
from nextbasis.parity.fixture import Fixture
from nextbasis.support.weights import put_weights
from nextbasis.tokenizers.common.parity import outputs
from nextbasis.tokenizers.kl16.config import KL16Config
from nextbasis.tokenizers.kl16.model import KL16Autoencoder

TOLERANCE = 1e-5  # of the largest value
ONE_LEVEL = 1.0  # a rounding tie of a pixel may fall either way


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of KL-16."""
    return fixture.kind == "kl_vae"


@torch.no_grad()
def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture)
    ours = outputs(model, fixture["in.images"], fixture["in.sample_noise"])
    if fixture.holds("in.rect"):
        ours["rect_moments"] = model.encode(fixture["in.rect"])
    if fixture.holds("in.dg_moments"):
        clamped = Posterior.of(fixture["in.dg_moments"])
        ours["dg_logvar"] = clamped.logvar
        fixture.check_logarithms("out.dg_std", clamped.std, TOLERANCE)
        fixture.check_logarithms("out.dg_var", clamped.std.square(), TOLERANCE)
    for name, value in ours.items():
        fixture.check(f"out.{name}", value, tolerance=TOLERANCE)
    pixels = ((ours["decoded"] + 1) / 2 * 255).clamp(0, 255).round().permute(0, 2, 3, 1)
    fixture.check_pixels("out.uint8_rgb_nhwc", pixels, ONE_LEVEL)


def build(fixture: Fixture) -> KL16Autoencoder:
    """The network with the fixture's weights."""
    model = KL16Autoencoder(config_of(fixture.value("description", "config")))
    put_weights(model, fixture.part("weights."))
    return model.eval().to(fixture.device)


def config_of(c: dict[str, Any]) -> KL16Config:
    """Our config of what the metadata tell; attention is given there by resolution."""
    sides = [c["resolution"] >> level for level in range(len(c["ch_mult"]))]
    return KL16Config(
        image_channels=c.get("in_channels", 3),
        width=c["ch"],
        multipliers=list(c["ch_mult"]),
        num_blocks=c["num_res_blocks"],
        latent_channels=c["embed_dim"],
        encoder_attention=[sides.index(side) for side in c["enc_attn_resolutions"]],
        decoder_attention=[sides.index(side) for side in c["dec_attn_resolutions"]],
        scale=c["scale_factor"],
    )
