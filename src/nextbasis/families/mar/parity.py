"""Compare our MAR with a fixture: patches, loss and its parts, gradients, training, rates."""

import math

import torch
from torch import Tensor

from nextbasis.families.common.parts import sinusoid
from nextbasis.families.mar import parity_head, parity_sampling
from nextbasis.families.mar.model import MAR, Draws, split_order
from nextbasis.official import import_state
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.training import check_gradients, check_rates, check_training, recipe
from nextbasis.tokenizers.common.patches import patchify

LR, WARMUP, EPOCHS = 8e-4, 100, 400  # the training command of MAR's README
STEPS_PER_EPOCH = 10_000  # fine enough for the epochs in the tables
MASK_RATIO_STD = 0.25  # a literal in the official code


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of MAR."""
    return fixture.kind == "mar"


def run(fixture: Fixture) -> None:
    """Compare every output."""
    check_patches(fixture)
    if fixture.holds("temb."):
        model = build(fixture)
        fixture.check("temb.freq", sinusoid(fixture["temb.t"].float(), 256))
        fixture.check("temb.out", model.head.time_embed(fixture["temb.t"].float()))
    if fixture.holds("loss."):
        check_loss(fixture, build(fixture))
        draws = draws_of(fixture, build(fixture))
        y, labels = inputs(fixture)
        model = build(fixture)
        model.eval()
        draws.label_drop = torch.zeros_like(draws.label_drop)
        fixture.check("loss_eval.value", model.loss(y, labels, draws).value)
    if fixture.holds("grads."):
        model = build(fixture)
        model.loss(*inputs(fixture), draws_of(fixture, model)).value.backward()
        check_gradients(fixture, "mar", model)
    if fixture.holds("train."):
        check_three_steps(fixture, build(fixture))
    if fixture.holds("lr."):
        check_lr(fixture)
    parity_head.run(fixture, build(fixture).head)
    parity_sampling.run(fixture, build(fixture))


def build(fixture: Fixture) -> MAR:
    """The model with the fixture's weights, in training mode."""
    c = fixture.value("description", "config")
    given = {
        "encoder_heads": c["encoder_num_heads"],
        "decoder_heads": c["decoder_num_heads"],
        "encoder_width": c["encoder_embed_dim"],
        "encoder_depth": c["encoder_depth"],
        "decoder_width": c["decoder_embed_dim"],
        "decoder_depth": c["decoder_depth"],
        "mlp_ratio": c["mlp_ratio"],
        "buffer_size": c["buffer_size"],
        "dropout": 0.0,
        "label_drop": c["label_drop_prob"],
        "head_width": c["diffloss_w"],
        "head_depth": c["diffloss_d"],
        "head_batch_mul": c["diffusion_batch_mul"],
        "mask_ratio_min": c["mask_ratio_min"],
        "mask_ratio_std": MASK_RATIO_STD,
    }
    imported = import_state("mar", fixture.part("weights."), given)
    model = MAR(imported.model, imported.spec, RASTER)
    model.load_state_dict(imported.state)
    return model.train().to(fixture.device)


def check_patches(fixture: Fixture) -> None:
    """Compare latents as tokens; the shapes tell the patches' side."""
    names = [n for n in fixture.tensors if n.startswith("patchify") and n.endswith(".in")]
    for name in names:
        latents, out = fixture[name], name.removesuffix("in") + "out"
        patch = math.isqrt(fixture[out].shape[-1] // latents.shape[1])
        fixture.check(out, patchify(latents, patch))


def patch_size(fixture: Fixture) -> int:
    """Side of the model's patches, in latent pixels."""
    return int(fixture.value("description", "config", "patch_size"))


def inputs(fixture: Fixture) -> tuple[Tensor, Tensor]:
    """Tokens and labels of the loss."""
    tokens = patchify(fixture["loss.latents"], patch_size(fixture))
    return tokens, fixture["loss.labels"].long()


def draws_of(fixture: Fixture, model: MAR, roll: int = 0) -> Draws:
    """The fixture's random numbers; steps and noise rolled along their rows."""
    order = fixture["loss.orders"].long()
    levels = (model.config.head_batch_mul, *order.shape)
    return Draws(
        order=order,
        num_hidden=int(fixture["loss.num_masked"]),
        label_drop=fixture["loss.label_drop"].bool(),
        step=fixture["loss.t"].long().roll(roll).view(levels),
        noise=fixture["loss.noise"].roll(roll, 0).view(*levels, -1),
    )


@torch.no_grad()
def check_loss(fixture: Fixture, model: MAR) -> None:
    """Compare the loss and everything on the way to it."""
    draws = draws_of(fixture, model)
    y, labels = inputs(fixture)
    _, known = split_order(draws.order, draws.num_hidden)
    everything = torch.arange(model.num_tokens, device=y.device).expand(len(y), -1)
    fixture.check("loss.mask", torch.ones_like(y[..., 0]).scatter(1, known, 0.0))
    if fixture.holds("loss.mask_rate"):
        count = math.ceil(model.num_tokens * fixture["loss.mask_rate"].item())
        fixture.check("loss.num_masked", torch.tensor(count))
    if fixture.holds("loss.label_drop_u"):
        drop = fixture["loss.label_drop_u"] < model.config.label_drop
        fixture.check("loss.label_drop", drop)
    encoded = model.encode(y, known, model.embed_labels(labels, draws.label_drop))
    fixture.check("loss.enc_out", encoded)
    z = model.decode(encoded, known, everything)
    fixture.check("loss.z", z)
    parity_head.check_terms(fixture, model.head, y, z, draws.step, draws.noise)
    fixture.check("loss.value", model.loss(y, labels, draws).value)


def check_three_steps(fixture: Fixture, model: MAR) -> None:
    """Compare a short training: step s rolls the diffusion's draws by s."""
    y, labels = inputs(fixture)
    check_training(
        fixture, "mar", model, lambda step: model.loss(y, labels, draws_of(fixture, model, step))
    )


def check_lr(fixture: Fixture) -> None:
    """Compare learning rates of the README's training, with and without decay."""
    for name, decay_start in (("constant", 1.0), ("cosine", WARMUP / EPOCHS)):
        config = recipe(
            steps=EPOCHS * STEPS_PER_EPOCH, lr=LR, warmup=WARMUP / EPOCHS, decay_start=decay_start
        )
        check_rates(fixture, f"lr.{name}", config, EPOCHS)
