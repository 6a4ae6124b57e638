"""SiT and REPA: solvers in closed form, guidance's interval, the alignment and its teachers."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from builders import (
    basis_config,
    generator,
    model_config,
    order_config,
    sampler_config,
    token_spec,
    tokens,
    train_config,
    train_stage,
)
from nextbasis.config import TrainStage
from nextbasis.data.tokens import TokenCache
from nextbasis.families.common import flow
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.sit import cost, teacher
from nextbasis.families.sit.config import SiTConfig, SiTSamplerConfig
from nextbasis.families.sit.model import SiT
from nextbasis.families.sit.solvers import heun
from nextbasis.families.sit.teacher import patches_of
from nextbasis.support.files import result_folder
from nextbasis.training.trainer import Trainer
from tokens_at_hand import write_tokens

CPU = torch.device("cpu")
ONEDNN = torch.ops.mkldnn._linear_pointwise
LABELS = torch.tensor([0, 1, 2, 4])
ALIGNED = {"align_weight": 0.5, "align_depth": 1, "align_hidden": 8, "teacher_widths": "8"}
LESSONS = teacher.STEPS


@pytest.fixture(autouse=True)
def few_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers stop early: only one test asks what they have learned."""
    monkeypatch.setattr(teacher, "STEPS", 5)


def made(**changes: Any) -> SiT:
    """A small model away from its zero initialisation."""
    backbone = generator("sit", **changes).backbone
    assert isinstance(backbone, SiT)
    return backbone


def loss_of(model: SiT, seed: int = 0) -> Any:
    draws = model.draw(4, 0.0, torch.Generator().manual_seed(seed))
    return model.loss(tokens("sit"), LABELS, draws)


class Gaussian(SiT):
    """The exact network for tokens that are independent normal numbers of one deviation."""

    deviation = 0.3

    def net(self, tokens: Tensor, y: Tensor, rows: Tensor | None = None) -> Tensor:
        t = self.told(float(self.clock))
        variance = (1 - t) ** 2 * self.deviation**2 + t**2
        velocity = (t - (1 - t) * self.deviation**2) / variance * tokens
        return -velocity if self.config.time_one == "data" else velocity

    def condition(self, time: Tensor, labels: Tensor) -> Tensor:
        self.clock = time[0]
        return super().condition(time, labels)


@pytest.mark.parametrize("time_one", ["data", "noise"])
@pytest.mark.parametrize("solver", ["euler", "heun", "euler_maruyama"])
def test_solvers_draw_gaussian_data(solver: str, time_one: str) -> None:
    config: SiTConfig = model_config("sit", time_one=time_one)
    model = Gaussian(config, token_spec("sit"), order_config()).eval()
    labels = torch.arange(5).repeat(200)
    sampler = sampler_config("sit", solver=solver, num_steps=100, guidance=1.0)
    drawn = model.sample(labels, ImageNoise(0, range(1000), CPU), sampler)
    assert drawn.shape == (1000, 16, 3) and drawn.dtype == torch.float32
    # 48,000 numbers: a standard error of .3 %.
    assert drawn.std().item() == pytest.approx(0.3, rel=0.03)
    assert abs(drawn.mean().item()) < 0.01


def test_heun_is_of_second_order_and_euler_of_first() -> None:
    """dz/dt = z from t = 1 to 0 multiplies by exp(-1)."""

    def error(solver: str, num_steps: int) -> float:
        times, start = flow.euler_times(num_steps), torch.ones(1, 1, dtype=torch.float64)
        if solver == "heun":
            z = heun(lambda z, t, _: z, start, times)
        else:
            z = flow.euler(lambda z, t: z, start, times)
        # The last step of either is one of Euler, so that of Heun is taken back.
        last = (1 - 1 / num_steps) / (1 - 1 / num_steps + 1 / num_steps**2 / 2)
        return abs(z.item() / math.exp(-1) / (last if solver == "heun" else 1) - 1)

    assert error("heun", 20) / error("heun", 40) == pytest.approx(4, rel=0.1)
    assert error("euler", 20) / error("euler", 40) == pytest.approx(2, rel=0.1)


class Watched(SiT):
    """A model that writes down how many rows its calls had."""

    rows: list[int]

    def net(self, tokens: Tensor, y: Tensor, rows: Tensor | None = None) -> Tensor:
        self.rows.append(len(tokens))
        return super().net(tokens, y, rows)


def rows_of(**changes: Any) -> list[int]:
    model = Watched(model_config("sit"), token_spec("sit"), order_config()).eval()
    model.rows = []
    sampler = sampler_config("sit", **{"solver": "euler", "num_steps": 4} | changes)
    model.sample(LABELS, ImageNoise(0, range(4), CPU), sampler)
    return model.rows


def test_only_steps_within_the_interval_are_guided() -> None:
    """Times are 1, .75, .5 and .25; both ends of the interval belong to it."""
    assert rows_of() == [8] * 4
    assert rows_of(guidance_low=0.5, guidance_high=0.75) == [4, 8, 8, 4]
    assert rows_of(guidance=1.0) == [4] * 4
    heun_rows = rows_of(guidance_low=0.5, guidance_high=0.75, solver="heun")
    assert heun_rows == [4, 4, 8, 8, 8, 8, 4]  # the start of a step decides for both its calls


def test_guidance_within_an_empty_interval_is_none() -> None:
    model = made().eval()

    def drawn(**changes: Any) -> Tensor:
        return model.sample(LABELS, ImageNoise(0, range(4), CPU), sampler_config("sit", **changes))

    never = {"guidance_low": 0.01, "guidance_high": 0.02}
    assert torch.equal(drawn(guidance=4.0, **never), drawn(guidance=1.0))
    assert not torch.equal(drawn(guidance=4.0), drawn(guidance=1.0))


def test_channels_that_are_not_guided_are_conditional() -> None:
    model = made().eval()
    first = {"solver": "euler", "num_steps": 2, "guidance_low": 1.0}  # the first of two steps

    def step(**changes: Any) -> Tensor:
        noise, sampler = ImageNoise(0, range(4), CPU), sampler_config("sit", **first | changes)
        start = noise.normal(16, 3)
        return model.field(LABELS, sampler)(start, 1.0, 1.0)

    plain, some, every = step(guidance=1.0), step(guided_channels=2), step()
    torch.testing.assert_close(some[..., :2], every[..., :2])
    torch.testing.assert_close(some[..., 2:], plain[..., 2:])
    with pytest.raises(ValueError, match="sampler.guided_channels must be at most 3"):
        step(guided_channels=4)


def test_the_clock_of_the_network_changes_nothing_else() -> None:
    """Told 1 - t and saying -v, the same network draws the same images."""

    class Backwards(SiT):
        def condition(self, time: Tensor, labels: Tensor) -> Tensor:
            return super().condition(1 - time, labels)

        def net(self, tokens: Tensor, y: Tensor, rows: Tensor | None = None) -> Tensor:
            return -super().net(tokens, y, rows)

    there = made().eval()
    back = Backwards(model_config("sit", time_one="data"), token_spec("sit"), order_config())
    back.load_state_dict(there.state_dict())
    drawn = [
        model.sample(LABELS, ImageNoise(0, range(4), CPU), sampler_config("sit"))
        for model in (there, back.eval())
    ]
    torch.testing.assert_close(*drawn, atol=1e-4, rtol=1e-4)


def test_the_second_half_of_the_outputs_says_nothing() -> None:
    """It gets no gradient, as that of the released SiT."""
    model = made(learn_sigma=True)
    loss_of(model).value.backward()
    gradient = model.final_layer.linear.weight.grad
    assert gradient is not None
    outputs = gradient.view(4, 6, -1)  # (patch, numbers of a token, width)
    assert outputs[:, 3:].abs().max() == 0 < outputs[:, :3].abs().min()


def prepared(**changes: Any) -> SiT:
    model = made(**ALIGNED | changes).train()
    model.prepare(training_tokens)
    return model


def training_tokens() -> Tensor:
    return torch.randn(300, 16, 3, generator=torch.Generator().manual_seed(2))


def test_weight_0_is_sit() -> None:
    """The same weights, loss and gradients, to the bit."""
    plain, aligned = made().train(), prepared(align_weight=0.0)
    shared = dict(aligned.state_dict())
    plain.load_state_dict({name: shared[name] for name in plain.state_dict()})
    losses = [loss_of(plain).value, loss_of(aligned).value]
    for loss in losses:
        loss.backward()
    assert torch.equal(*losses)
    for name, parameter in plain.named_parameters():
        theirs = aligned.get_parameter(name).grad
        assert parameter.grad is not None and theirs is not None
        assert torch.equal(parameter.grad, theirs), name


def test_a_fresh_model_has_the_weights_of_a_fresh_sit() -> None:
    fresh = []
    for changes in ({}, ALIGNED):
        torch.manual_seed(3)
        fresh.append(
            build_backbone(model_config("sit", **changes), order_config(), token_spec("sit"))
        )
    theirs = fresh[1].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in fresh[0].state_dict().items())


def test_alignment_is_taken_off_the_loss_in_training_only() -> None:
    model = prepared()
    loss = loss_of(model)
    alignment = loss.notes["alignment"]
    assert -1 <= alignment <= 1
    denoising = loss.error.square().mean()
    torch.testing.assert_close(loss.value, denoising - 0.5 * alignment)
    assert loss.snr.shape == (4, 16) and (loss.snr >= 1).all()
    quiet = loss_of(model.eval())
    assert not quiet.notes
    torch.testing.assert_close(quiet.value, denoising)


def test_every_parameter_of_an_aligned_model_gets_a_gradient() -> None:
    model = prepared(teacher_widths="8,6")
    loss_of(model).value.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


def test_alignment_needs_a_teacher() -> None:
    with pytest.raises(ValueError, match="before its first step: call prepare"):
        loss_of(made(**ALIGNED).train())


@pytest.mark.parametrize("kind", ["masked", "random", "tokens"])
def test_a_teacher_is_the_same_each_time_and_standardised(kind: str) -> None:
    """Whatever was drawn before, and drawing nothing from the others' numbers."""
    width = {"teacher_widths": "12" if kind == "tokens" else "8"}
    found = []
    for seed in (0, 1):
        model = made(**ALIGNED | width, teacher=kind)
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        model.prepare(training_tokens)
        assert torch.equal(torch.get_rng_state(), state)
        found.append(model.teachers[0](training_tokens()))
    assert torch.equal(*found) and found[0].shape == (300, 4, int(width["teacher_widths"]))
    flat = found[0].flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(flat.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(0), torch.ones(flat.shape[1]), atol=1e-3, rtol=0)
    assert not found[0].requires_grad
    assert not any("teacher" in name for name in model.state_dict())


def test_a_masked_teacher_knows_what_tokens_have_in_common(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Patches of an image that are all one patch: its features are those of no other image."""
    monkeypatch.setattr(teacher, "STEPS", LESSONS)
    config = replace(model_config("sit", **ALIGNED), depth=1)
    model = build_backbone(config, order_config(), token_spec("sit"))
    one = torch.randn(300, 1, 3, generator=torch.Generator().manual_seed(4)).expand(-1, 16, -1)
    model.prepare(lambda: one)
    encoder: Any = model.teachers[0].encoder
    patches = patches_of(one[:100], 2, 2)
    masked = torch.zeros(100, 4, dtype=torch.bool)
    masked[:, 0] = True
    error = encoder.predict(encoder(patches, masked))[:, 0] - patches[:, 0]
    assert error.square().mean() < 0.1 * patches.square().mean()


def test_features_of_tokens_must_be_their_numbers() -> None:
    model = made(**ALIGNED | {"teacher": "tokens"})
    with pytest.raises(ValueError, match="needs model.teacher_widths=12, the numbers of a patch"):
        model.prepare(training_tokens)


def stage() -> TrainStage:
    return train_stage(
        model_config("sit", **ALIGNED),
        basis_config(learned=True, objective="r0"),
        train_config(steps=4, batch_size=4, lr=1e-3),
    )


def test_a_resumed_training_has_the_same_teacher(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed and a whole training of REPA in a learned basis end in the same weights."""
    monkeypatch.chdir(tmp_path)
    write_tokens(False)
    cache = TokenCache(result_folder("test", "tokens", "tokens"))
    whole, killed = Trainer(stage(), cache), Trainer(stage(), cache)
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        killed.advance()
    torch.manual_seed(99)
    resumed = Trainer(stage(), cache)
    resumed.restore(killed.state())
    for _ in range(2):
        resumed.advance()
    ours, theirs = whole.generator.state_dict(), resumed.generator.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    resumed.log()
    assert "alignment" in resumed.rows[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_one": "both"}, "model.time_one must be one of"),
        ({"align_weight": 0.5}, "model.align_weight=0.5 needs features to align with"),
        (ALIGNED | {"align_weight": -1.0}, "model.align_weight must not be negative"),
        (ALIGNED | {"align_depth": 3}, r"model.align_depth must lie in \[1, 2\], the blocks"),
        (ALIGNED | {"align_hidden": 0}, "model.align_hidden must be above 0"),
        (ALIGNED | {"teacher": "dinov2"}, "model.teacher must be one of"),
        (ALIGNED | {"teacher_widths": "8, x"}, "numbers above 0 with commas between them"),
        (ALIGNED | {"teacher_widths": "8,"}, "numbers above 0 with commas between them"),
    ],
)
def test_impossible_models_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_config("sit", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": "dopri5"}, "sampler.solver must be one of"),
        ({"num_steps": 1}, "sampler.num_steps must be at least 2"),
        ({"guidance_high": 1.5}, r"sampler.guidance_high must lie in \[0, 1\]"),
        ({"guidance_low": 0.8, "guidance_high": 0.7}, "must not exceed sampler.guidance_high"),
    ],
)
def test_impossible_samplers_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler: SiTSamplerConfig = sampler_config("sit", **changes)
        del sampler


def test_a_copy_of_a_model_keeps_its_teachers() -> None:
    """A moving average is a copy."""
    model = prepared()
    kept = copy.deepcopy(model).teachers[0](training_tokens())
    assert isinstance(model.teachers, list) and not isinstance(model.teachers, nn.ModuleList)
    assert torch.equal(kept, model.teachers[0](training_tokens()))


def test_flops_of_an_aligned_loss_are_those_that_pytorch_counts() -> None:
    """With projectors and teachers; those have no backward pass, of which the cost knows."""
    model = prepared(width=64, align_hidden=32, teacher_widths="8,6")
    draws = model.draw(4, 0.0, torch.Generator().manual_seed(0))

    def products(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return 2 * math.prod(x) * weight[0]

    counter = FlopCounterMode(display=False, custom_mapping={ONEDNN: products})
    with counter, sdpa_kernel(SDPBackend.MATH):
        model.loss(tokens("sit"), LABELS, draws)
    whole = counter.get_total_flops() / 4
    counter = FlopCounterMode(display=False, custom_mapping={ONEDNN: products})
    with counter, sdpa_kernel(SDPBackend.MATH):
        for teacher in model.teachers:
            teacher(tokens("sit"))
    taught = counter.get_total_flops() / 4
    expected = cost.forward(model.config, model.spec).total
    assert expected == pytest.approx(whole - taught * 2 / 3, rel=0.01)
