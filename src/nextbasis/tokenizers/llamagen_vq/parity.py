"""Compare our LlamaGen tokenizer with a fixture: encoder, ids, decoder, pixels, training."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nextbasis.parity.fixture import Fixture
from nextbasis.parity.report import compare
from nextbasis.support.weights import put_weights
from nextbasis.tokenizers.llamagen_vq import parity_training
from nextbasis.tokenizers.llamagen_vq.config import LlamaGenVQConfig
from nextbasis.tokenizers.llamagen_vq.model import REMEMBERED, LlamaGenVQ

IMAGES, CODES = 1e-4, 1e-5  # absolute, as the fixture states
SHARE = 0.01  # of grey levels that may differ, by one: ties of rounding


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of LlamaGen's tokenizer."""
    return fixture.kind == "llamagen_vq"


def run(fixture: Fixture) -> None:
    """Compare every output."""
    with torch.no_grad():
        check_inference(fixture, build(fixture))
    if fixture.holds("out.train."):
        parity_training.run(fixture, build(fixture))


def check_inference(fixture: Fixture, model: LlamaGenVQ) -> None:
    """Compare what becomes of images and of codes."""
    images, codes = fixture["in.images"], fixture["in.codes"]
    hidden = model.encoder(images)
    fixture.check("out.encoder_hidden", hidden, absolute=IMAGES)
    z = model.quant_conv(hidden)
    fixture.check("out.z", z, absolute=IMAGES)
    ids = model.encode(images)
    fixture.check("out.indices", ids.flatten(1))
    vectors = model.quantize.codes(ids)
    fixture.check("out.z_quantized", vectors, absolute=CODES)
    fixture.check("out.decoded", model.decode_vectors(vectors), absolute=IMAGES)
    grid = codes.unflatten(1, ids.shape[1:])
    fixture.check("out.codebook_entry", model.quantize.codes(grid), absolute=CODES)
    decoded = model.decode(grid)
    fixture.check("out.decoded_from_codes", decoded, absolute=IMAGES)
    check_pixels(fixture, "out.uint8", decoded)
    # Evaluated at 256 pixels, larger samples are shrunk without a filter against aliasing.
    size = fixture.value("config")["image_size_eval"]
    resized = F.interpolate(decoded, size=(size, size), mode="bicubic")
    fixture.check("out.resized", resized, absolute=IMAGES)
    check_pixels(fixture, "out.resized_uint8", resized)


def check_pixels(fixture: Fixture, name: str, images: Float[Tensor, "b c h w"]) -> None:
    """Compare grey levels, rounded half up; nearly all must be equal."""
    if fixture.holds(name):
        levels = (127.5 * images + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().float()
        official = fixture[name].cpu().float()
        fixture.rows.append(compare(name, levels, official, absolute=1.0))
        share = (levels != official).float().mean()
        row = compare(f"{name} (share)", share, torch.zeros_like(share), absolute=SHARE)
        fixture.rows.append(row)


def build(fixture: Fixture) -> LlamaGenVQ:
    """The network with the fixture's weights, which lack the ids that training counts."""
    channels = fixture["in.images"].shape[1]
    model = LlamaGenVQ(config_of(fixture.value("config"), channels))
    counted = {"quantize.codebook_used": torch.zeros(REMEMBERED)}
    put_weights(model, counted | fixture.part("weights."))
    return model.eval().to(fixture.device)


def config_of(c: dict[str, Any], image_channels: int) -> LlamaGenVQConfig:
    """Our config of what the metadata tell."""
    return LlamaGenVQConfig(
        image_channels=image_channels,
        width=c["ch"],
        multipliers=list(c["ch_mult"]),
        num_blocks=c["num_res_blocks"],
        latent_channels=c["codebook_embed_dim"],
        hidden_channels=c["z_channels"],
        codebook_size=c["codebook_size"],
    )
