"""Compare our MaskGIT-VQGAN with a fixture: encoder, ids, code vectors, loss, decoder."""

from typing import Any

import torch

from nextbasis.parity.fixture import Fixture
from nextbasis.support.weights import put_weights
from nextbasis.tokenizers.maskgit_vqgan.config import MaskGITVQGANConfig
from nextbasis.tokenizers.maskgit_vqgan.model import MaskGITVQGAN

ENCODER, DECODER = 5e-5, 3e-5  # absolute; a wrong epsilon of the norms moves them by more


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of MaskGIT-VQGAN."""
    if fixture.kind:
        return fixture.kind == "vqgan"
    return "num_embeddings" in fixture.value("config")


@torch.no_grad()
def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture)
    images = fixture["in.images"]
    vectors = model.encoder(images)
    ids = model.encode(images)
    fixture.check("out.encoder_hidden", vectors, absolute=ENCODER)
    fixture.check("out.indices", ids.flatten(1))
    fixture.check("out.z_q", model.quantize.codes(ids), absolute=ENCODER)
    fixture.check("out.vq_loss", model.quantize.loss(vectors, ids))
    grid = vectors.shape[2:]
    codes = fixture["in.codes"].unflatten(1, grid)
    from_ids = model.decoder(model.quantize.codes(ids))
    fixture.check("out.decoded_from_indices", from_ids, absolute=DECODER)
    from_codes = model.decoder(model.quantize.codes(codes))
    fixture.check("out.decoded_from_codes", from_codes, absolute=DECODER)
    fixture.check("out.decoded_from_codes_clamped", model.decode(codes), absolute=DECODER)


def build(fixture: Fixture) -> MaskGITVQGAN:
    """The network with the fixture's weights."""
    model = MaskGITVQGAN(config_of(fixture.value("config")))
    put_weights(model, fixture.part("weights."))
    return model.eval().to(fixture.device)


def config_of(c: dict[str, Any]) -> MaskGITVQGANConfig:
    """Our config of what the metadata tell."""
    return MaskGITVQGANConfig(
        image_channels=c["num_channels"],
        width=c["hidden_channels"],
        multipliers=list(c["channel_mult"]),
        num_blocks=c["num_res_blocks"],
        latent_channels=c["embedding_dim"],
        codebook_size=c["num_embeddings"],
        commitment=c["commitment_cost"],
    )
