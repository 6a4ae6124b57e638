"""Compare our SiT with a fixture of SiT or REPA: the network, losses, gradients, training."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.families.common.loss import Loss
from nextbasis.families.common.parts import sinusoid
from nextbasis.families.sit import parity_paths, parity_pixels, parity_sampling
from nextbasis.families.sit.model import Draws, SiT
from nextbasis.official import import_state
from nextbasis.official.names import RASTER
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.training import check_gradients, check_training
from nextbasis.tokenizers.common.patches import patchify, unpatchify

KINDS = {"sit": "data", "repa": "noise"}  # and what is at the network's time 1
TERMS, TRAINED = 1e-3, 3e-4  # tolerances of losses of images, and of weights that Adam moved
SCALE = 0.18215  # of the latents


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of SiT or REPA."""
    return fixture.kind in KINDS


def run(fixture: Fixture) -> None:
    """Compare every output."""
    check_network(fixture, build(fixture).eval())
    if fixture.holds("posterior."):
        mean, deviation = fixture["posterior.moments"].chunk(2, 1)  # on disk: no logarithms
        fixture.check("posterior.z", (mean + deviation * fixture["posterior.noise"]) * SCALE)
    if fixture.holds("dino."):
        parity_pixels.run(fixture)
    if fixture.holds("loss."):
        check_losses(fixture, build(fixture))
    if fixture.holds("grads.") or fixture.holds("loss.grad_norm"):
        model = build(fixture)
        loss_of(fixture, model, "loss").value.backward()
        check_gradients(fixture, "sit", model)
        norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        fixture.check("loss.grad_norm", torch.stack(norms).norm())
    if fixture.holds("train."):
        check_steps(fixture, build(fixture))
    if fixture.holds("sample."):
        parity_sampling.run(fixture, build(fixture).eval())


def build(fixture: Fixture) -> SiT:
    """The model with the fixture's weights, in training mode."""
    c = fixture.told("config")
    given = {
        "num_heads": c["num_heads"],
        "mlp_ratio": c["mlp_ratio"],
        "dropout": 0.0,
        "label_drop": c["class_dropout_prob"],
        "time_one": KINDS[fixture.kind],
    }
    if c.get("z_dims"):
        given |= {"align_depth": c["encoder_depth"], "teacher": "tokens"}
        given["align_weight"] = 0.0
        if fixture.holds("train."):
            given["align_weight"] = fixture.told("train")["proj_coeff"]
        if fixture.holds("loss.proj_coeff"):
            given["align_weight"] = fixture["loss.proj_coeff"].item()
    imported = import_state("sit", fixture.part("weights."), given)
    model = SiT(imported.model, imported.spec, RASTER)
    model.load_state_dict(imported.state)
    model.teachers = [Told(fixture, j) for j in range(len(model.projectors))]
    return model.train().to(fixture.device)


@dataclass
class Told:
    """A teacher whose features are the fixture's."""

    fixture: Fixture
    index: int

    def __call__(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b m f"]:
        """Features of the loss's images, the only ones there are."""
        return self.fixture[f"loss.z_{self.index}"]


def latents_of(model: SiT, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b d h w"]:
    """Tokens as latents."""
    return unpatchify(tokens, 1, model.spec.sequence[0])


def says(model: SiT, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """What the network says of latents at its own times: its own velocity."""
    out = model.net(patchify(x, 1), model.condition(t, labels))
    return latents_of(model, out[..., : model.channels])


@torch.no_grad()
def check_network(fixture: Fixture, model: SiT) -> None:
    """Compare the table of positions, the network and its parts, and guidance."""
    fixture.check("init.pos_embed", SiT(model.config, model.spec, RASTER).pos_embed)
    if not fixture.holds("fwd."):
        return
    x, t, y = (fixture[f"fwd.{name}"] for name in ("x", "t", "y"))
    fixture.check("fwd.sinusoid", sinusoid(t, 256))
    fixture.check("fwd.cond", model.time_embed(t) + model.class_emb(y.long()))
    fixture.check("fwd.tokens", model.embed(patchify(x, 1)))
    fixture.check("fwd.out", says(model, x, t, y.long()))
    _, projected = model.velocity(patchify(x, 1), model.told(t), y.long())
    for index, features in enumerate(projected):
        fixture.check(f"fwd.z_tilde_{index}", features)
    if fixture.holds("eps_probe."):
        scaled, factor = build(fixture).eval(), fixture["eps_probe.scale"]
        for tensor in (*scaled.patch_embed.parameters(), scaled.pos_embed):
            tensor.mul_(factor)
        fixture.check("eps_probe.out", says(scaled, x, t, y.long()))
    for name, digits in scales(fixture):
        given = [fixture[f"cfg.{part}"] for part in ("x", "t", "y")]
        mixed = parity_sampling.both_halves(
            model, patchify(given[0], 1), given[1], given[2].long(), digits
        )
        fixture.check(name, latents_of(model, mixed))


def scales(fixture: Fixture) -> list[tuple[str, float]]:
    """Outputs under guidance and its strengths, whose points are written as underscores."""
    prefix = "cfg.scale_"
    names = [name for name in fixture.tensors if name.startswith(prefix)]
    return [(name, float(name.removeprefix(prefix).replace("_", "."))) for name in names]


def draws_of(
    fixture: Fixture, model: SiT, part: str, step: int | None = None, time: Tensor | None = None
) -> Draws:
    """The fixture's random numbers; uniform times are of the network's own clock."""

    def numbers(name: str) -> Tensor:
        found = fixture[f"{part}.{name}"]
        return found if step is None else found[step]

    time = numbers("time_u") if time is None else time
    return Draws(
        label_drop=numbers("label_u") < model.config.label_drop,
        time=model.told(time),
        noise=patchify(numbers("noise"), 1),
    )


def loss_of(
    fixture: Fixture,
    model: SiT,
    part: str,
    step: int | None = None,
    time: Tensor | None = None,
) -> Loss:
    """The model's loss on the fixture's batch."""
    tokens = patchify(fixture["loss.latents"], 1)
    draws = draws_of(fixture, model, part, step, time)
    return model.loss(tokens, fixture["loss.labels"].long(), draws)


@torch.no_grad()
def check_losses(fixture: Fixture, model: SiT) -> None:
    """Compare the losses, that of the package by its own code."""
    dropped = fixture["loss.label_u"] < model.config.label_drop
    fixture.check("loss.label_drop", dropped.long())
    if model.config.time_one == "data":
        for name, transport in fixture.told("transports").items():
            check_transport(fixture, model, name, *transport)
        value = loss_of(fixture, model, "loss").value
        fixture.check("loss.linear_velocity.value", value)
        return
    check_aligned(fixture, "loss.linear", loss_of(fixture, model, "loss"), model)
    if fixture.holds("loss.linear_lognormal."):
        time = fixture["loss.linear_lognormal.time_normal"].sigmoid()
        loss = loss_of(fixture, model, "loss.linear_lognormal", time=time)
        check_aligned(fixture, "loss.linear_lognormal", loss, model)
    if fixture.holds("loss.cosine."):
        check_cosine(fixture, model)


def check_aligned(fixture: Fixture, name: str, loss: Loss, model: SiT) -> None:
    """Compare the parts of REPA's loss."""
    assert loss.error is not None
    fixture.check(f"{name}.denoising_terms", loss.error.square().mean((1, 2)), tolerance=TERMS)
    fixture.check(f"{name}.projection", -loss.notes["alignment"])
    fixture.check(f"{name}.value", loss.value)


def check_cosine(fixture: Fixture, model: SiT) -> None:
    """Compare REPA's loss on the path of sine and cosine."""
    draws, path = draws_of(fixture, model, "loss"), parity_paths.path_of("GVP")
    clean, labels = patchify(fixture["loss.latents"], 1), fixture["loss.labels"].long()
    t = (1 - draws.time)[:, None, None]
    noisy = path.mix(t, clean, draws.noise)
    told = labels.where(~draws.label_drop, model.null_label)
    velocity, projected = model.velocity(noisy, draws.time, told)
    error = velocity + path.velocity(t, clean, draws.noise)
    alignment = model.alignment(clean, projected)
    value = error.square().mean() - model.config.align_weight * alignment
    notes = {"alignment": alignment}
    check_aligned(fixture, "loss.cosine", Loss(value=value, error=error, notes=notes), model)


def check_transport(
    fixture: Fixture, model: SiT, name: str, path_name: str, prediction: str, weight: str | None
) -> None:
    """Compare SiT's loss on one path with one prediction; the same network plays each part."""
    path, part = parity_paths.path_of(path_name), f"loss.{name}"
    data, noise = fixture["loss.latents"], fixture["loss.noise"]
    time = parity_paths.training_times(path_name, prediction, fixture["loss.time_u"])
    fixture.check(f"{part}.t", time)
    t = time[:, None, None, None]
    noisy = path.mix(t, data, noise)
    fixture.check(f"{part}.x_t", noisy)
    fixture.check(f"{part}.target", path.velocity(t, data, noise))
    drop = fixture["loss.label_u"] < model.config.label_drop
    out = says(model, noisy, time, fixture["loss.labels"].long().where(~drop, model.null_label))
    if (path_name, prediction) == ("Linear", "velocity"):
        fixture.check("loss.pred", out)
    terms = parity_paths.squared_error(path, prediction, weight, t, out, data, noise)
    fixture.check(f"{part}.terms", terms.mean((1, 2, 3)), tolerance=TERMS)
    if name != "linear_velocity":
        fixture.check(f"{part}.value", terms.mean())


def check_steps(fixture: Fixture, model: SiT) -> None:
    """Compare a short training and, of REPA, the parts of its losses."""
    parts: dict[str, list[Tensor]] = {"denoising": [], "projection": []}

    def step_loss(step: int) -> Loss:
        loss = loss_of(fixture, model, "train", step)
        assert loss.error is not None
        parts["denoising"].append(loss.error.detach().square().mean())
        if "alignment" in loss.notes:
            parts["projection"].append(-loss.notes["alignment"])
        return loss

    check_training(fixture, "sit", model, step_loss, TRAINED)
    for name, values in parts.items():
        if values:
            fixture.check(f"train.{name}", torch.stack(values))
    for kind in ("param", "ema"):  # a constant, so its average is itself
        fixture.check(f"train.{kind}.pos_embed", model.pos_embed, tolerance=TRAINED)
