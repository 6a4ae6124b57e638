"""Compare our DiT with a fixture: network, guidance, loss and its parts, training, schedules."""

import torch
from torch import Tensor

from nextbasis.families.common.dit import Guided, LatentTransformer, position_table
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.parts import sinusoid
from nextbasis.families.common.schedule import linear_betas, variational_bound
from nextbasis.families.dit import parity_sampling
from nextbasis.families.dit.model import DiT, Draws
from nextbasis.families.dit.parity_sampling import GUIDED_CHANNELS
from nextbasis.official import import_state
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.schedules import check_schedules
from nextbasis.parity.training import check_gradients, check_training
from nextbasis.tokenizers.common.patches import patchify, unpatchify

OF_TERMS = 1e-3  # of the largest of the loss' terms: the bound magnifies rounding
OF_WEIGHTS = 3e-4  # after training steps: Adam magnifies that of gradients that are nearly zero


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of DiT."""
    return fixture.kind == "dit"


@torch.no_grad()
def run(fixture: Fixture) -> None:
    """Compare every output."""
    model = build(fixture).eval()
    rows, columns = (side // model.config.patch for side in model.spec.grid)
    fixture.check("init.pos_embed", position_table(rows, columns, model.config.width))
    if fixture.holds("fwd."):
        check_network(fixture, model)
    if fixture.holds("eps_probe."):
        check_probe(fixture, build(fixture).eval())
    if fixture.holds("cfg."):
        check_guidance(fixture, model)
    if fixture.holds("loss."):
        check_loss(fixture, model)
    with torch.enable_grad():
        if fixture.holds("grads.") or fixture.holds("loss.grad_norm"):
            check_one_step(fixture, build(fixture))
        if fixture.holds("train."):
            check_steps(fixture, build(fixture))
    check_schedules(fixture, linear_betas)
    parity_sampling.run(fixture, model)


def build(fixture: Fixture) -> DiT:
    """The model with the fixture's weights, in training mode."""
    config = fixture.value("config")
    given = {
        "width": config["hidden_size"],
        "depth": config["depth"],
        "num_heads": config["num_heads"],
        "mlp_ratio": config["mlp_ratio"],
        "patch": config["patch_size"],
        "dropout": 0.0,
        "label_drop": config["class_dropout_prob"],
    }
    imported = import_state("dit", fixture.part("weights."), given)
    model = DiT(imported.model, imported.spec, RASTER)
    model.load_state_dict(imported.state)
    return model.train().to(fixture.device)


def latents_of(tokens: Tensor, model: LatentTransformer) -> Tensor:
    """Tokens as the official code has them: images of their channels."""
    return unpatchify(tokens, 1, model.spec.grid[0])


def check_network(fixture: Fixture, model: DiT) -> None:
    """Compare the network and everything on the way through it."""
    x, time, labels = (fixture[f"fwd.{name}"] for name in "xty")
    fixture.check("fwd.sinusoid", sinusoid(time.float(), 256))
    embedded = model.time_embed(time.float())
    fixture.check("fwd.temb", embedded)
    fixture.check("fwd.cond", embedded + model.class_emb(labels))
    fixture.check("fwd.tokens", h := model.embed(patchify(x, 1)))
    y = model.condition(time.float(), labels)
    for i, block in enumerate(model.blocks):
        fixture.check(f"fwd.block_{i}", h := model.run(h, y, [block]))
    fixture.check("fwd.out", latents_of(model.read_out(h, y), model))


def check_probe(fixture: Fixture, model: DiT) -> None:
    """Compare the network where its inputs are small, so that the norms' epsilon shows."""
    for tensor in (model.patch_embed.weight, model.patch_embed.bias, model.pos_embed):
        tensor *= fixture["eps_probe.scale"]
    x, time, labels = (fixture[f"fwd.{name}"] for name in "xty")
    out = model.net(patchify(x, 1), model.condition(time.float(), labels))
    fixture.check("eps_probe.out", latents_of(out, model))


def check_guidance(fixture: Fixture, model: DiT) -> None:
    """Compare guided outputs; the official ones have rows of the null class, too, which see the
    same x and keep what is not guided for themselves.
    """
    x, time, labels = (fixture[f"cfg.{name}"] for name in "xty")
    half, (given, told) = patchify(x, 1)[: len(x) // 2], labels.chunk(2)
    null = model.net(half, model.condition(time.float().chunk(2)[1], told))[..., GUIDED_CHANNELS:]
    for name, guidance in scales(fixture):
        rows = zip(half.split(1), given.split(1), time.float().tolist(), strict=False)
        said = torch.cat([Guided(model, y, GUIDED_CHANNELS)(x, t, guidance) for x, y, t in rows])
        both = torch.cat((said, torch.cat((said[..., :GUIDED_CHANNELS], null), -1)))
        fixture.check(name, latents_of(both, model))


def scales(fixture: Fixture) -> list[tuple[str, float]]:
    """Outputs cfg.scale_<guidance>, whose decimal point is an underscore, and the guidance."""
    prefix = "cfg.scale_"
    names = [name for name in fixture.tensors if name.startswith(prefix)]
    return [(name, float(name.removeprefix(prefix).replace("_", "."))) for name in names]


def batch_of(fixture: Fixture, draws: Draws, model: DiT) -> Loss:
    """The model's loss on the fixture's images."""
    tokens = patchify(fixture["loss.latents"], 1)
    return model.loss(tokens, fixture["loss.labels"], draws)


def draws_of(fixture: Fixture, model: DiT, part: str, index: int | None = None) -> Draws:
    """The fixture's random numbers, those of a training at a step."""
    drawn = (fixture[f"{part}.{name}"] for name in ("label_u", "t", "noise"))
    uniform, step, noise = (each if index is None else each[index] for each in drawn)
    drop = uniform < model.config.label_drop
    return Draws(label_drop=drop, step=step, noise=patchify(noise, 1))


def check_loss(fixture: Fixture, model: DiT) -> None:
    """Compare the loss of every image, and what the network sees and says."""
    draws, labels = draws_of(fixture, model, "loss"), fixture["loss.labels"]
    fixture.check("loss.label_drop", draws.label_drop.long())
    x0, step = patchify(fixture["loss.latents"], 1), model.steps(draws)
    noisy = model.noisy(x0, draws)
    fixture.check("loss.x_t", latents_of(noisy, model))
    told = labels.where(~draws.label_drop, model.null_label)
    said = model.net(noisy, model.condition(draws.step.float(), told))
    fixture.check("loss.model_out", latents_of(said, model))
    eps, v = said.chunk(2, -1)
    squared = (draws.noise - eps).square().mean((1, 2))
    bound = variational_bound(model.schedule, x0, noisy, step, eps, v).mean(1)
    for name, term in {"mse": squared, "vb": bound, "loss": squared + bound}.items():
        fixture.check(f"loss.terms_{name}", term, tolerance=OF_TERMS)
    fixture.check("loss.value", batch_of(fixture, draws, model).value)


def check_one_step(fixture: Fixture, model: DiT) -> None:
    """Compare the gradients and their norm."""
    batch_of(fixture, draws_of(fixture, model, "loss"), model).value.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    fixture.check("loss.grad_norm", torch.nn.utils.get_total_norm(gradients))
    check_gradients(fixture, "dit", model)


def check_steps(fixture: Fixture, model: DiT) -> None:
    """Compare a short training; the official average is also of the table of positions."""

    def loss_of(index: int) -> Loss:
        return batch_of(fixture, draws_of(fixture, model, "train", index), model)

    check_training(fixture, "dit", model, loss_of, tolerance=OF_WEIGHTS)
    for kind in ("param", "ema"):
        fixture.check(f"train.{kind}.pos_embed", model.pos_embed)
