"""Compare our VAR with a fixture: ids, inputs, logits, loss, gradients, training, generation."""

from typing import Any

import torch
from torch import Tensor

from nextbasis.families.common.execution import precision
from nextbasis.families.var import parity_sampling
from nextbasis.families.var.model import VAR, Draws
from nextbasis.families.var.parity_tokenizer import OfficialTokenizer
from nextbasis.official import import_state, official_name
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.training import rates, recipe, train
from nextbasis.support.words import listed

LOSSES, FINAL_LOGITS = 1e-4, 3e-3  # absolute; Adam magnifies rounding
NORMS = 2e-3  # of each norm
CONSTANT = 0.05  # share of the steps after warm-up at which the rate does not fall yet


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of VAR."""
    return fixture.kind == "var"


def run(fixture: Fixture) -> None:
    """Compare every output."""
    fixture.part("in.")  # all are read, even where the outputs that need them are left out
    tokenizer = OfficialTokenizer(
        fixture.part("vae."), fixture.value("config", "vae"), fixture.device
    )
    with precision("float32", fixture.device):
        ids = tokenizer.encode(fixture["in.images"])
    fixture.check("out.indices", ids)
    check_forward(fixture, build(fixture, tokenizer).eval(), ids)
    check_gradients(fixture, build(fixture, tokenizer).eval(), ids)
    if fixture.holds("out.train."):
        check_training(fixture, build(fixture, tokenizer), ids)
    parity_sampling.run(fixture, build(fixture, tokenizer).eval(), tokenizer)


def build(fixture: Fixture, tokenizer: OfficialTokenizer) -> VAR:
    """The model with the fixture's weights and its tokenizer's codes, in training mode."""
    c = fixture.value("config")
    given = {
        "width": c["embed_dim"],
        "depth": c["depth"],
        "num_heads": c["num_heads"],
        "mlp_width": round(c["embed_dim"] * c["mlp_ratio"]),
        "shared_modulation": c["shared_aln"],
        "dropout": 0.0,
        "label_drop": c["cond_drop_rate"],
        "drop_path": c["drop_path_rate"],
        "gate_init": 1e-3,
    }
    imported = import_state("var", fixture.part("weights."), given)
    model = VAR(imported.model, imported.spec, RASTER)
    model.load_state_dict(imported.state)
    model.attach_codes(tokenizer.quantiser.tensors())
    return model.train().to(fixture.device)


def draws_of(model: VAR, label_rand: Tensor, kept: Tensor | None = None) -> Draws:
    """The fixture's random numbers; `kept` is (block, branch, image)."""
    everything = torch.ones(len(label_rand), model.config.depth, 2, dtype=torch.bool)
    return Draws(
        label_drop=label_rand < model.config.label_drop,
        kept=everything.to(label_rand.device) if kept is None else kept.permute(2, 0, 1).bool(),
    )


def logits(model: VAR, ids: Tensor, classes: Tensor, draws: Draws) -> Tensor:
    """Logits of every token (b n v)."""
    condition = model.class_emb(torch.where(draws.label_drop, model.null_label, classes))
    return model.head(model._hidden(ids, condition, draws.kept))


@torch.no_grad()
def check_forward(fixture: Fixture, model: VAR, ids: Tensor) -> None:
    """Compare what the model is fed, logits with and without classes, and losses."""
    classes, draws = fixture["in.class_ids"], draws_of(model, fixture["in.label_rand"])
    with precision("float32", fixture.device):
        fixture.check("out.var_input", model._known().inputs(ids))
    out = logits(model, ids, classes, draws)
    fixture.check("out.logits", out)
    null = draws_of(model, torch.zeros_like(fixture["in.label_rand"]))
    fixture.check("out.logits_none", logits(model, ids, classes, null))
    nll = -out.log_softmax(-1).gather(2, ids[..., None])[..., 0]
    fixture.check("out.nll", nll)
    fixture.check("out.loss", model.loss(ids, classes, draws).value, absolute=LOSSES)


def check_gradients(fixture: Fixture, model: VAR, ids: Tensor) -> None:
    """Compare the norm of every parameter's gradient, without stochastic depth."""
    draws = draws_of(model, fixture["in.label_rand"])
    model.loss(ids, fixture["in.class_ids"], draws).value.backward()
    gradients = {official_name("var", name): p.grad for name, p in model.named_parameters()}
    norms = norms_of(fixture, gradients)
    fixture.check("out.grad_norms", norms, relative=True, tolerance=NORMS)


def norms_of(fixture: Fixture, tensors: dict[str, Any]) -> Tensor:
    """Norms of one tensor for each of the fixture's grad_keys.

    Raises: ValueError naming those that only one side has.
    """
    keys = fixture.value("grad_keys")
    if unknown := sorted(set(keys) ^ set(tensors)):
        raise ValueError(f"grad_keys and the model differ in {listed(unknown)}")
    return torch.stack([tensors[key].norm() for key in keys])


def check_training(fixture: Fixture, model: VAR, ids: Tensor) -> None:
    """Compare a short training with stochastic depth, its rates, and which weights decay."""
    told, classes = fixture.value("train"), fixture["in.class_ids"]
    for key, wanted in (("decay", True), ("no_decay", False)):
        names = model.named_parameters()
        ours = {official_name("var", name) for name, p in names if model.decays(name, p) is wanted}
        if wrong := sorted(ours ^ set(told[key])):
            raise ValueError(f"{key}: the model differs from the fixture in {listed(wrong)}")
    steps, end = told["steps"], told["max_it"] - 1
    warm = told["wp_it"] / end
    config = recipe(
        steps=end,
        lr=told["peak_lr"],
        warmup=warm,
        warmup_start=told["wp0"],
        decay_start=warm + CONSTANT * (1 - warm),
        decay="linear",
        min_lr=told["peak_lr"] * told["wpe"],
        weight_decay=told["wd"],
        weight_decay_end=told["wd_end"],
        beta1=told["betas"][0],
        beta2=told["betas"][1],
        clip=told["grad_clip"],
    )
    for name, values in zip(("lrs", "wds"), rates(config, steps), strict=True):
        fixture.check(f"out.train.{name}", values, relative=True)
    label_rand, kept = fixture["in.train.label_rand"], fixture["in.train.drop_path_keep"]
    losses, norms, _ = train(
        model,
        config,
        lambda step: model.loss(ids, classes, draws_of(model, label_rand[step], kept[step])),
        steps,
    )
    fixture.check("out.train.losses", losses, absolute=LOSSES)
    fixture.check("out.train.grad_norms", norms, relative=True, tolerance=NORMS)
    parameters = {official_name("var", name): p for name, p in model.named_parameters()}
    norms_now = norms_of(fixture, parameters)
    fixture.check("out.train.param_norms", norms_now, relative=True, tolerance=NORMS)
    with torch.no_grad():
        out = logits(model.eval(), ids, classes, draws_of(model, fixture["in.label_rand"]))
    fixture.check("out.train.final_logits", out, absolute=FINAL_LOGITS)
