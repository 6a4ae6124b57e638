"""Compare our xAR with a fixture: cells, rotations, loss and its parts, training, sampling."""

import torch
from torch import Tensor

from nextbasis.families.common.attention import rotate
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.parts import sinusoid
from nextbasis.families.xar import parity_sampling
from nextbasis.families.xar.model import XAR, Draws
from nextbasis.official import import_state
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.training import check_gradients, check_rates, check_training, recipe
from nextbasis.tokenizers.common.patches import patchify

# Literals of the official code: 800 epochs, warm-up 100, cosine to the least rate from 600 on.
LR, MIN_LR, WARMUP, DECAY_START, EPOCHS = 4e-4, 1e-5, 100, 600, 800
STEPS_PER_EPOCH = 10_000  # fine enough for the epochs in the tables


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of xAR."""
    return fixture.kind == "xar"


def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture)
    if fixture.holds("clusterify."):
        fixture.check("clusterify.out", cells_of(fixture["clusterify.in"], model))
    if fixture.holds("rope."):
        check_rotation(fixture, model)
    if fixture.holds("temb."):
        time = fixture["temb.t"].float()
        fixture.check("temb.freq", sinusoid(time, 256))
        fixture.check("temb.out", model.time_embed(time))
    if fixture.holds("loss."):
        check_loss(fixture, build(fixture))
    if fixture.holds("grads."):
        model = build(fixture)
        loss_of(fixture, model).value.backward()
        check_gradients(fixture, "xar", model)
        check_class_rows(fixture, model)
    if fixture.holds("train."):
        model = build(fixture)
        check_training(fixture, "xar", model, lambda step: loss_of(fixture, model, step))
    if fixture.holds("lr."):
        config = recipe(
            steps=EPOCHS * STEPS_PER_EPOCH,
            lr=LR,
            min_lr=MIN_LR,
            warmup=WARMUP / EPOCHS,
            decay_start=DECAY_START / EPOCHS,
        )
        check_rates(fixture, "lr.values", config, EPOCHS)
    parity_sampling.run(fixture, build(fixture))


def build(fixture: Fixture) -> XAR:
    """The model with the fixture's weights, in training mode."""
    c = fixture.value("description", "config")
    given = {
        "width": c["dim"],
        "encoder_depth": c["encoder_depth"],
        "decoder_depth": c["decoder_depth"],
        "num_heads": c["num_heads"],
        "cells_per_side": round(fixture.value("description", "cells") ** 0.5),
        "dropout": 0.0,
        "label_drop": c["label_drop_prob"],
    }
    imported = import_state("xar", fixture.part("weights."), given)
    model = XAR(imported.model, imported.spec, RASTER)
    model.load_state_dict(imported.state)
    return model.train().to(fixture.device)


def tokens_of(latents: Tensor, model: XAR) -> Tensor:
    """Latents as tokens in the model's order."""
    return patchify(latents, 1)[:, model.host_order]


def cells_of(latents: Tensor, model: XAR) -> Tensor:
    """Latents as tokens, cell by cell: (b, cells, tokens of a cell, channels)."""
    return tokens_of(latents, model).unflatten(1, (model.num_cells, model.cell_size))


def check_rotation(fixture: Fixture, model: XAR) -> None:
    """Compare rotations of all tokens and of the cells 1 and 2, as out_cells12 names them."""
    features = fixture["rope.in"]
    fixture.check("rope.out_full", rotate(features, model.rotation))
    rows = slice(model.cell_size, 3 * model.cell_size)
    length = rows.stop - rows.start
    rotated = rotate(features[:, :, :length], model.rotation[rows])
    fixture.check("rope.out_cells12", rotated)


def draws_of(fixture: Fixture, roll: int = 0) -> Draws:
    """The fixture's random numbers; noise rolled along the batch."""
    return Draws(
        label_drop=fixture["loss.label_drop"].bool(),
        time=fixture["loss.time"].T,
        noise=fixture["loss.noise"].flatten(1, 2).roll(roll, 0),
    )


def loss_of(fixture: Fixture, model: XAR, roll: int = 0) -> Loss:
    """The model's loss on the fixture's batch."""
    y = tokens_of(fixture["loss.latents"], model)
    return model.loss(y, fixture["loss.labels"].long(), draws_of(fixture, roll))


@torch.no_grad()
def check_loss(fixture: Fixture, model: XAR) -> None:
    """Compare the loss and what the network sees and says on the way to it."""
    draws = draws_of(fixture)
    seen: dict[str, Tensor] = {}
    if fixture.holds("loss.label_drop_u"):
        fixture.check("loss.label_drop", fixture["loss.label_drop_u"] < model.config.label_drop)
    model.z_proj.register_forward_hook(lambda _, inputs, __: seen.update(model_input=inputs[0]))
    model.encoder_norm.register_forward_hook(lambda _, __, output: seen.update(enc_out=output))
    model.pred.register_forward_hook(lambda _, __, output: seen.update(v=output))
    fixture.check("loss.value", loss_of(fixture, model).value)
    for name, tensor in seen.items():
        fixture.check(f"loss.{name}", tensor)
    labels = fixture["loss.labels"].long()
    condition = model.condition(labels.where(~draws.label_drop, model.null_label), draws.time)
    # The official rows are cell-major.
    fixture.check("loss.condition", condition.transpose(0, 1).flatten(0, 1))


def check_class_rows(fixture: Fixture, model: XAR) -> None:
    """Compare the gradients of the class table's stored rows; all others must be zero."""
    if not fixture.holds("grads.class_emb.rows"):
        return
    gradient = model.get_parameter("class_emb.weight").grad
    assert gradient is not None
    stored, used = fixture["grads.class_emb.rows"], gradient.abs().amax(1).nonzero()[:, 0]
    fixture.check("grads.class_emb.rows", torch.cat((stored, used)).unique())
    fixture.check("grads.class_emb.weight@rows", gradient[stored])
