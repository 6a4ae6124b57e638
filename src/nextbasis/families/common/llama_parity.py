"""Compare models of LlamaGen's kind with a fixture: forward passes, training and sampling."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.llama import Draws, Llama
from nextbasis.families.common.llama_parity_sampling import check_sampling
from nextbasis.families.common.loss import Loss
from nextbasis.official import import_state, official_name
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.training import recipe_of, train
from nextbasis.support.words import listed

NORMS = 2e-3  # of each norm
LOSSES = 1e-4  # absolute, in nats


def run(fixture: Fixture) -> None:
    """Compare every output; the fixture's kind is the family's name."""
    inputs = fixture.part("in.")
    model = build(fixture)
    fixture.check("out.freqs_cis", model.rotation)
    fixture.check("out.order", model.host_order)
    if model.attend is not None:
        fixture.check("out.mask", model.attend)
    if not inputs:
        return
    check_forward(fixture, model)
    if fixture.holds("out.grad_norms"):
        check_gradients(fixture, build(fixture))
    if fixture.holds("out.train."):
        check_training(fixture, build(fixture))
    check_sampling(fixture, model.eval())


def build(fixture: Fixture) -> Llama:
    """The model with the fixture's weights, in training mode and without dropout of its own."""
    c = fixture.value("config")
    given = {
        "width": c["dim"],
        "depth": c["n_layer"],
        "num_heads": c["n_head"],
        "dropout": 0.0,
        "label_drop": c["class_dropout_prob"],
    }
    side = math.isqrt(c["block_size"])
    imported = import_state(fixture.kind, fixture.part("weights."), given, (side, side))
    model = build_backbone(imported.model, RASTER, imported.spec)
    model.load_state_dict(imported.state)
    assert isinstance(model, Llama)
    return model.train().to(fixture.device)


def batch_of(fixture: Fixture, model: Llama) -> tuple[Tensor, Tensor]:
    """The fixture's ids in the model's own order, and classes."""
    return fixture["in.tokens"].long()[:, model.host_order], fixture["in.class_ids"].long()


def dropped(model: Llama, numbers: Tensor) -> Draws:
    """Labels are left out where a uniform number is small."""
    return Draws(label_drop=numbers < model.config.label_drop)


@torch.no_grad()
def logits_of(fixture: Fixture, model: Llama) -> Tensor:
    """Logits of the batch, some of whose labels are left out."""
    ids, classes = batch_of(fixture, model)
    drop = dropped(model, fixture["in.label_rand"]).label_drop
    return model.logits(ids, classes.masked_fill(drop, model.num_classes))


@torch.no_grad()
def check_forward(fixture: Fixture, model: Llama) -> None:
    """Compare logits with and without classes, and the loss of the batch and of every token."""
    (ids, classes), draws = batch_of(fixture, model), dropped(model, fixture["in.label_rand"])
    fixture.check("out.tokens_in_order", ids)
    limit = fixture.value("tolerance", "logits")
    logits = logits_of(fixture, model)
    fixture.check("out.logits", logits, absolute=limit)
    null = torch.full_like(classes, model.num_classes)
    fixture.check("out.logits_none", model.logits(ids, null), absolute=limit)
    per_token = -logits.log_softmax(-1).gather(2, ids[..., None])[..., 0]
    fixture.check("out.nll", per_token, absolute=LOSSES)
    fixture.check("out.loss", model.loss(ids, classes, draws).value, absolute=LOSSES)


def check_gradients(fixture: Fixture, model: Llama) -> None:
    """Compare the norm of every parameter's gradient."""
    draws = dropped(model, fixture["in.label_rand"])
    model.loss(*batch_of(fixture, model), draws).value.backward()
    gradients = [p.grad for p in parameters(fixture, model)]
    norms = [gradient.norm() for gradient in gradients if gradient is not None]
    fixture.check("out.grad_norms", torch.stack(norms), relative=True, tolerance=NORMS)


def parameters(fixture: Fixture, model: nn.Module) -> list[nn.Parameter]:
    """All parameters in the fixture's order.

    Raises: ValueError if it names others.
    """
    ours = {official_name(fixture.kind, name): p for name, p in model.named_parameters()}
    keys = fixture.value("grad_keys")
    if unknown := sorted(set(keys) ^ set(ours)):
        raise ValueError(f"grad_keys and the model differ in {listed(unknown)}")
    return [ours[key] for key in keys]


def check_training(fixture: Fixture, model: Llama) -> None:
    """Compare a short training with recorded dropout, and which weights decay."""
    settings, named = fixture.value("train"), list(model.named_parameters())
    for key, wanted in (("decay", True), ("no_decay", False)):
        ours = {official_name(fixture.kind, n) for n, p in named if model.decays(n, p) is wanted}
        if wrong := sorted(ours ^ set(settings[key])):
            raise ValueError(f"train.{key}: the model differs from the fixture in {listed(wrong)}")
    ids, classes = batch_of(fixture, model)

    def loss_of(step: int) -> Loss:
        draws = dropped(model, fixture["in.train.label_rand"][step])
        with recorded_dropout(fixture, model, step):
            return model.loss(ids, classes, draws)

    config = recipe_of(
        settings | {"clip": settings["max_grad_norm"], "ema_rate": settings["ema_decay"]}
    )
    losses, norms, average = train(model, config, loss_of)
    fixture.check("out.train.losses", losses, absolute=LOSSES)
    fixture.check("out.train.grad_norms", norms, relative=True, tolerance=NORMS)
    for name, source in (("param", model), ("ema", average)):
        norms = torch.stack([p.detach().norm() for p in parameters(fixture, source)])
        fixture.check(f"out.train.{name}_norms", norms, relative=True, tolerance=NORMS)
    limit = fixture.value("tolerance", "train.final_logits")
    fixture.check("out.train.final_logits", logits_of(fixture, model), absolute=limit)


@contextmanager
def recorded_dropout(fixture: Fixture, model: Llama, step: int) -> Iterator[None]:
    """Drop what the fixture's official model dropped in this step.

    Its sites are the embedded sequence, and of every block the outputs of attention and MLP.
    """
    blocks: list[Any] = list(model.blocks)
    sites = [model.token_drop, *(site for b in blocks for site in (b.attn.proj_drop, b.mlp.drop))]
    told = [fixture.value("config", f"{name}_dropout_p") for name in ("token", "resid", "ffn")]
    chances = [told[0], *told[1:] * len(blocks)]
    kept = fixture["in.train.dropout_keep"][step]

    def of_site(number: int) -> Any:
        gain = kept[number] / (1 - chances[number])
        return lambda _, inputs, __: inputs[0] * gain

    handles = [site.register_forward_hook(of_site(number)) for number, site in enumerate(sites)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
