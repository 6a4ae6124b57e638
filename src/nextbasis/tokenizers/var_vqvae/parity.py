"""Compare our VAR VQ-VAE with a fixture: encoder, levels, what VAR is fed, decoder, training."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nextbasis.parity.fixture import Fixture
from nextbasis.support.weights import put_weights
from nextbasis.tokenizers.common.residual import Quantised
from nextbasis.tokenizers.var_vqvae.config import VARVQVAEConfig
from nextbasis.tokenizers.var_vqvae.model import VARVQVAE

TOLERANCE, NORMS = 1e-4, 2e-3  # absolute; of a gradient's norm, a share of it
USED = 0.08  # a code counts as used from this share on of what it would have if all were equal


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of VAR's VQ-VAE."""
    return fixture.kind == "var_vqvae"


def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture)
    with torch.no_grad():
        images, codes = fixture["in.images"], fixture["in.codes"]
        latents = model.latents(images)
        found = model.quantize.quantise(latents)
        of_codes = model.quantize.maps(codes)
        fixture.check("out.indices", found.ids)
        ours = {
            "encoder_hidden": model.encoder(images),
            "f": latents,
            "f_hat_per_scale": found.maps.transpose(0, 1),
            "var_input": model.quantize.inputs(found.ids),
            "reconstructions_per_scale": decoded(model, found.maps),
            "decoded_from_indices": model.decode(found.ids),
            "decoded_from_codes": model.decode(codes),
            "decoded_from_codes_per_scale": decoded(model, of_codes),
            "next_inputs_from_codes": model.quantize.inputs(codes),
            "f_hat_from_codes": of_codes[-1],
            "image_from_f_hat": model.images(of_codes[-1]).clamp(-1, 1),
        }
    for name, value in ours.items():
        fixture.check(f"out.{name}", value, absolute=TOLERANCE)
    check_training(fixture, model)


def decoded(model: VARVQVAE, maps: Float[Tensor, "s b d h w"]) -> Float[Tensor, "b s c h2 w2"]:
    """Images of the map after each level."""
    return torch.stack([model.images(each).clamp(-1, 1) for each in maps], 1)


def check_training(fixture: Fixture, model: VARVQVAE) -> None:
    """Compare a training step's forward pass, and the norms of its gradients."""
    if not fixture.holds("out.train."):
        return
    images, commitment = fixture["in.images"], fixture.value("config", "beta")
    latents = model.latents(images)
    found = model.quantize.quantise(latents)
    straight = latents + (found.maps[-1] - latents).detach()
    again = model.images(straight)
    error = F.mse_loss(again, images)
    loss = model.quantize.loss(latents, found.maps, commitment)
    (error + loss).backward()
    parameters = dict(model.named_parameters())
    norms = [norm(parameters[name]) for name in fixture.value("grad_keys")]
    fixture.check("out.train.reconstruction", again, absolute=TOLERANCE)
    fixture.check("out.train.mse", error, absolute=TOLERANCE)
    fixture.check("out.train.vq_loss", loss, absolute=TOLERANCE)
    fixture.check("out.train.usages", usages(model, found), absolute=TOLERANCE)
    fixture.check("out.train.grad_norms", torch.stack(norms), relative=True, tolerance=NORMS)


def norm(parameter: Tensor) -> Float[Tensor, ""]:
    """Of the gradient; zero where there is none."""
    return torch.zeros(()) if parameter.grad is None else parameter.grad.norm().cpu()


def usages(model: VARVQVAE, found: Quantised) -> Float[Tensor, " s"]:
    """Percentage of the codes that each level uses, by the count that the file keeps."""
    hits = model.quantize.get_buffer("ema_vocab_hit_SV")
    _, batch, _, height, width = found.maps.shape
    return (hits >= USED * batch * height * width / hits.shape[1]).float().mean(1) * 100


def build(fixture: Fixture) -> VARVQVAE:
    """The network with the fixture's weights."""
    model = VARVQVAE(config_of(fixture.value("config")))
    put_weights(model, fixture.part("weights."))
    return model.eval().to(fixture.device)


def config_of(c: dict[str, Any]) -> VARVQVAEConfig:
    """Our config of what the metadata tell."""
    return VARVQVAEConfig(
        image_channels=c.get("in_channels", 3),
        width=c["ch"],
        multipliers=list(c["ch_mult"]),
        num_blocks=c["num_res_blocks"],
        latent_channels=c["Cvae"],
        codebook_size=c["V"],
        levels=list(c["patch_nums"]),
        num_phis=c["share_quant_resi"],
        blend=c["quant_resi"],
        commitment=c["beta"],
    )
