"""Compare our MDTv2 with a fixture: network, guidance, both losses, gradients, schedules."""

import re

import torch
from einops import rearrange
from torch import Tensor

from nextbasis.families.common.dit import Guided, position_table
from nextbasis.families.common.schedule import NUM_STEPS, linear_betas
from nextbasis.families.mdtv2 import parity_sampling, parity_training
from nextbasis.families.mdtv2.block import MaskedBlock
from nextbasis.families.mdtv2.config import MDTv2Config
from nextbasis.families.mdtv2.model import MDTv2, guidance_at, kept_patches
from nextbasis.families.mdtv2.parity_sampling import sampler_of
from nextbasis.families.mdtv2.parity_training import draws_of
from nextbasis.official import import_state
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.schedules import check_schedules
from nextbasis.parity.training import check_gradients

TERMS = 1e-3  # tolerance of the losses of single images
OFFICIAL = {"mask_spread": 0.2, "snr_bound": 5.0}  # literals in the official code


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of MDTv2."""
    return fixture.kind == "mdtv2"


def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture)
    if fixture.holds("init."):
        side = model.patch_embed.rows
        fixture.check("init.pos_embed", position_table(side, side, model.config.width))
    if fixture.holds("fwd."):
        check_network(fixture, model)
    if fixture.holds("cfg."):
        check_guidance(fixture, model)
    if fixture.holds("loss."):
        check_loss(fixture, model)
    if fixture.holds("train."):
        parity_training.run(fixture, build(fixture))
    check_schedules(fixture, linear_betas)
    steps = torch.arange(NUM_STEPS, device=fixture.device)
    fixture.check("sched.min_snr_weight", model.weight(model.schedule.snr(steps)), relative=True)
    if fixture.holds("sample."):
        parity_sampling.run(fixture, model)
    if fixture.holds("eps_probe."):
        check_norms(fixture, build(fixture))


def build(fixture: Fixture) -> MDTv2:
    """The model with the fixture's weights."""
    c = fixture.value("config")
    given = {
        "dropout": 0.0,
        "label_drop": c["class_dropout_prob"],
        "mask_ratio": c["mask_ratio"],
        "mlp_ratio": c["mlp_ratio"],
    }
    imported = import_state("mdtv2", fixture.part("weights."), given | OFFICIAL)
    assert isinstance(imported.model, MDTv2Config)
    model = MDTv2(imported.model, imported.spec, RASTER)
    model.load_state_dict(imported.state)
    return model.train().to(fixture.device)


def tokens_of(latents: Tensor) -> Tensor:
    """Latents as tokens, one a place."""
    return rearrange(latents, "b c h w -> b (h w) c")


def latents_of(tokens: Tensor, model: MDTv2) -> Tensor:
    """Tokens, or what the network says of them, as an image of their channels."""
    return rearrange(tokens, "b (h w) c -> b c h w", h=model.layout[0])


@torch.no_grad()
def check_network(fixture: Fixture, model: MDTv2) -> None:
    """Compare fwd.*: conditions, patches, and both passes."""
    x, time, labels = tokens_of(fixture["fwd.x"]), fixture["fwd.t"].float(), fixture["fwd.y"]
    y = model.condition(time, labels)
    fixture.check("fwd.cond", model.time_embed(time) + model.class_emb(labels))
    fixture.check("fwd.tokens", model.embed(x))
    fixture.check("fwd.out", latents_of(model.net(x, y), model))
    kept = kept_patches(model.config, fixture["fwd.ratio_u"][0], fixture["fwd.mask_u"])
    fixture.check("fwd.len_keep", torch.tensor(kept.shape[1]))
    fixture.check("fwd.ids_keep", kept)
    fixture.check("fwd.out_masked", latents_of(model.net(x, y, kept=kept), model))
    first = model.in_blocks[0]
    assert isinstance(first, MaskedBlock)
    fixture.check("fwd.rel_bias_block0", first.attn.bias(model.displacement)[0])


@torch.no_grad()
def check_guidance(fixture: Fixture, model: MDTv2) -> None:
    """Compare cfg.*: the curves, and both halves of guided outputs at t<time>_scale<s>_pow<p>."""
    for name, power in fixture.numbered("cfg.curve_pow"):
        sampler, times = sampler_of(2.0, power, 2), fixture["cfg.curve_t"].tolist()
        fixture.check(name, torch.tensor([guidance_at(sampler, time) - 1 for time in times]))
    if not fixture.holds("cfg.x"):
        return
    labels = fixture["cfg.y"].chunk(2)[0]
    x, c = tokens_of(fixture["cfg.x"]).chunk(2)[0], parity_sampling.GUIDED
    nobody = torch.full_like(labels, model.null_label)
    guided, null = Guided(model, labels, c), Guided(model, nobody, c)
    for name in [n for n in fixture.tensors if n.startswith("cfg.t")]:
        numbers = re.findall(r"(?:t|scale|pow)(\d+(?:_\d+)?)", name.removeprefix("cfg."))
        time, scale, power = (float(number.replace("_", ".")) for number in numbers)
        strength = guidance_at(sampler_of(scale, power, 2), int(time))
        given, free = guided(x, time, strength), null(x, time, 1.0)
        both = torch.cat((given, torch.cat((given[..., :c], free[..., c:]), -1)))
        fixture.check(name, latents_of(both, model))


def check_loss(fixture: Fixture, model: MDTv2) -> None:
    """Compare the losses of every image in both passes, the value, and all gradients."""
    x, labels = tokens_of(fixture["loss.latents"]), fixture["loss.labels"]
    draws = draws_of(fixture, model, "loss.", ...)
    for prefix, masked in (("loss.", False), ("loss.mask_", True)):
        with torch.no_grad():
            _, mse, bound = model.denoise(x, labels, draws, masked)
        fixture.check(f"{prefix}terms_mse", mse, tolerance=TERMS)
        fixture.check(f"{prefix}terms_vb", bound, tolerance=TERMS)
        fixture.check(f"{prefix}terms_loss", mse + bound, tolerance=TERMS)
    model.zero_grad()
    value = model.loss(x, labels, draws).value
    value.backward()
    fixture.check("loss.value", value)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    fixture.check("loss.grad_norm", torch.stack([g.norm() for g in grads]).norm())
    check_gradients(fixture, "mdtv2", model)


@torch.no_grad()
def check_norms(fixture: Fixture, model: MDTv2) -> None:
    """Compare the output for small inputs, where the norms' epsilon shows."""
    scale = fixture["eps_probe.scale"]
    tables = (model.pos_embed, model.decoder_pos)
    for parameter in (*model.patch_embed.parameters(), *tables):
        parameter.mul_(scale)
    y = model.condition(fixture["fwd.t"].float(), fixture["fwd.y"])
    out = model.net(tokens_of(fixture["fwd.x"]), y)
    fixture.check("eps_probe.out", latents_of(out, model))
