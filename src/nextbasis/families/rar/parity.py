"""Compare our RAR with a fixture: logits, losses, gradients, training, generation, orders."""

import random
from collections.abc import Iterable

import torch
from torch import Tensor

from nextbasis.families.rar import parity_sampling
from nextbasis.families.rar.model import RAR, Draws
from nextbasis.official import import_state, official_name
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.training import recipe_of, train
from nextbasis.support.words import listed

LOSSES = 1e-4  # absolute; a wrong choice of decayed weights makes 2e-4 in the short training


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of RAR, whose metadata name no kind."""
    return not fixture.kind and "condition_num_classes" in fixture.value("config")


def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture)
    if fixture.holds("in."):
        check_forward(fixture, model)
        check_losses(fixture, model)
    if fixture.holds("out.grad_norms"):
        check_gradients(fixture, build(fixture))
    if fixture.holds("out.train5."):
        check_training(fixture, build(fixture))
    fixture.check("out.merged_pos_embed", model._positions(raster(model, 1)))
    check_orders(fixture, model)
    parity_sampling.run(fixture, model.eval())


def build(fixture: Fixture) -> RAR:
    """The model with the fixture's weights, in training mode."""
    c = fixture.value("config")
    given = {
        "width": c["hidden_size"],
        "depth": c["num_hidden_layers"],
        "num_heads": c["num_attention_heads"],
        # Differs from c["intermediate_size"]: the official code computes it from a ratio.
        "mlp_width": int(c["hidden_size"] * (c["intermediate_size"] / c["hidden_size"])),
        "dropout": 0.0,
        "label_drop": c["class_label_dropout"],
    }
    grid = (1, c["image_seq_len"])  # RAR knows no rows and columns, only positions
    imported = import_state("rar", fixture.part("weights."), given, grid)
    model = RAR(imported.model, imported.spec, RASTER)
    model.load_state_dict(imported.state)
    return model.train().to(fixture.device)


def raster(model: RAR, batch: int) -> Tensor:
    """The raster order for a batch."""
    return torch.arange(model.num_tokens, device=model.scan.device).expand(batch, -1)


def logits(model: RAR, ids: Tensor, condition: Tensor, order: Tensor) -> Tensor:
    """Logits at the class condition and after every token, all of which are given (b n+1 v)."""
    x = model._embed(ids.gather(1, order), condition) + model._positions(order)
    c = model.embeddings(condition)[:, None] + model.timesteps_embeddings[:, : x.shape[1]]
    for block in model.blocks:
        x = block(x, c)
    return model.head(model._final(x, model.final_modulation(c))[:, 1:])


@torch.no_grad()
def check_forward(fixture: Fixture, model: RAR) -> None:
    """Compare logits along both orders and without classes, and the loss of every token."""
    ids, classes = fixture["in.tokens"].long(), fixture["in.class_ids"].long()
    permuted, plain = fixture["in.orders_perm"].long(), raster(model, len(ids))
    condition = model.condition_ids(classes, fixture["in.drop_mask"].bool())
    fixture.check("in.condition_ids", condition)
    null = model.condition_ids(classes, torch.ones_like(classes, dtype=torch.bool))
    runs = {"raster": (condition, plain), "perm": (condition, permuted), "none": (null, plain)}
    for name, (rows, order) in runs.items():
        out = logits(model, ids, rows, order)
        limit = fixture.value("tolerance", "suggested_atol_logits")
        fixture.check(f"out.logits_{name}", out, absolute=limit)
    targets = ids.gather(1, permuted)
    fixture.check("out.labels_perm", targets)
    out = logits(model, ids, condition, permuted)[:, :-1]
    fixture.check("out.nll_perm", -out.log_softmax(-1).gather(2, targets[..., None])[..., 0])


def draws_of(fixture: Fixture, model: RAR, order: str, roll: int = 0) -> Draws:
    """The fixture's random numbers; permuted orders are rolled along the batch."""
    drop = fixture["in.drop_mask"].bool()
    if order == "raster":
        return Draws(order=raster(model, len(drop)), label_drop=drop)
    return Draws(order=fixture["in.orders_perm"].long().roll(roll, 0), label_drop=drop)


def check_losses(fixture: Fixture, model: RAR) -> None:
    """Compare the training loss and the share of right guesses along both orders."""
    ids, classes = fixture["in.tokens"].long(), fixture["in.class_ids"].long()
    for order in ("raster", "perm"):
        loss = model.loss(ids, classes, draws_of(fixture, model, order))
        fixture.check(f"out.loss_{order}", loss.value, absolute=LOSSES)
        fixture.check(f"out.acc_{order}", loss.notes["accuracy"])


def check_gradients(fixture: Fixture, model: RAR) -> None:
    """Compare the norm of every parameter's gradient of the loss along permuted orders."""
    ids, classes = fixture["in.tokens"].long(), fixture["in.class_ids"].long()
    model.loss(ids, classes, draws_of(fixture, model, "perm")).value.backward()
    gradients = {official_name("rar", name): p.grad for name, p in model.named_parameters()}
    keys = fixture.value("grad_keys")
    if unknown := sorted(set(keys) ^ set(gradients)):
        raise ValueError(f"grad_keys and the model differ in {listed(unknown)}")
    norms = [gradient.norm() for key in keys if (gradient := gradients[key]) is not None]
    fixture.check("out.grad_norms", torch.stack(norms), relative=True)


def check_training(fixture: Fixture, model: RAR) -> None:
    """Compare a short training, step t along orders rolled by t, and which weights decay."""
    ids, classes = fixture["in.tokens"].long(), fixture["in.class_ids"].long()
    for key, wanted in (("decay", True), ("no_decay", False)):
        names = model.named_parameters()
        ours = {official_name("rar", name) for name, p in names if model.decays(name, p) is wanted}
        if wrong := sorted(ours ^ set(fixture.value(key))):
            raise ValueError(f"{key}: the model differs from the fixture in {listed(wrong)}")
    losses, norms, _ = train(
        model,
        recipe_of(fixture.value("train5")),
        lambda step: model.loss(ids, classes, draws_of(fixture, model, "perm", step)),
    )
    fixture.check("out.train5.losses", losses, absolute=LOSSES)
    fixture.check("out.train5.grad_norms", norms, absolute=LOSSES)
    final = model.loss(ids, classes, draws_of(fixture, model, "raster")).value
    fixture.check("out.train5.final_raster_loss", final, absolute=LOSSES)


def check_orders(fixture: Fixture, model: RAR) -> None:
    """Compare the official generators' orders at ratio r, replayed: out.rng.sample_orders_r<r>.

    The package draws its orders from streams of its own; this documents the official ones.
    """
    prefix = "out.rng.sample_orders_r"
    for name, ratio in fixture.numbered(prefix):
        seed = fixture.value("config", "seed")
        rows = official_orders(len(fixture[name]), model.num_tokens, ratio, seed)
        fixture.check(name, torch.stack(list(rows)))


def official_orders(batch: int, num_tokens: int, ratio: float, seed: int) -> Iterable[Tensor]:
    """One order per sample as the official training draws them after seeding."""
    chance, permutation = random.Random(seed), torch.Generator().manual_seed(seed)
    for _ in range(batch):
        is_random = chance.random() < ratio
        yield (
            torch.randperm(num_tokens, generator=permutation)
            if is_random
            else torch.arange(num_tokens)
        )
