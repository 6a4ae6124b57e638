"""MAR's fast paths against plain implementations of the same formulas."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from builders import generator, sampler_config, tokens
from fixtures_at_hand import fixture_path
from nextbasis.basis import orders
from nextbasis.families.common.ancestral import AncestralSampler
from nextbasis.families.common.diffusion import DiffusionHead
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.schedule import Schedule, space_steps, variational_bound
from nextbasis.families.mar.model import MAR, Draws, mar_guidance
from nextbasis.families.mar.parity import build
from nextbasis.official import our_name
from nextbasis.parity.fixture import open_fixture

LABELS = torch.tensor([0, 1, 2, 4])
DEPTHS = {"encoder_depth": 2, "decoder_depth": 3, "head_depth": 2}


def model(**changes: bool) -> MAR:
    backbone = generator("mar", **DEPTHS, **changes).backbone
    assert isinstance(backbone, MAR)
    return backbone.eval()


def head() -> DiffusionHead:
    """A head in double precision whose weights are all away from zero."""
    made, random = DiffusionHead(4, 6, 16, 3).double(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=random).double()
    return made


@pytest.mark.parametrize("num_steps", [*range(2, 200), 250, 333, 999, 1000])
def test_space_steps_adds_up_the_stride(num_steps: int) -> None:
    """The official loop; multiples of the stride round otherwise for some counts."""
    steps, current, stride = [], 0.0, 999 / (num_steps - 1)
    for _ in range(num_steps):
        steps.append(round(current))
        current += stride
    assert space_steps(num_steps) == steps


def test_space_steps_is_not_the_rounded_multiple() -> None:
    others = [
        n for n in range(2, 40) if space_steps(n) != [round(i * (999 / (n - 1))) for i in range(n)]
    ]
    assert {21, 23, 31} <= set(others)


def denoise(
    head: DiffusionHead,
    z: Tensor,
    guidance: float,
    noise: Tensor,
    sampler: AncestralSampler,
) -> Tensor:
    """Ancestral sampling with the training network, every step by itself (no fast path)."""
    count = len(sampler.steps)
    schedule = Schedule(space_steps(count))
    x = noise[0]
    for i in reversed(range(count)):
        step = torch.full((len(x),), i)
        time = head.time_embed(schedule.original_step[step].to(x.dtype))
        outputs = [head.net(x, time + head.cond_embed(part)) for part in z]
        eps, v = outputs[0]
        if len(z) == 2:
            eps = outputs[1][0] + guidance * (eps - outputs[1][0])
        x0 = schedule.predict_x0(x, step, eps)
        if sampler.clip > 0:
            x0 = x0.clamp(-sampler.clip, sampler.clip)
        x = schedule.posterior_mean(x0, x, step)
        if i > 0:
            std = torch.exp(0.5 * schedule.log_variance(step, v))
            x = x + sampler.temperature * std * noise[count - i]
    return x


@torch.no_grad()
@pytest.mark.parametrize("conditions", [1, 2])
@pytest.mark.parametrize("clip", [0.0, 1.5])
@pytest.mark.parametrize("rows", [5, 600])  # all steps' modulations at once, and one by one
def test_sampler_equals_the_network_step_by_step(conditions: int, clip: float, rows: int) -> None:
    made, random = head(), torch.Generator().manual_seed(2)
    z = torch.randn(conditions, rows, 6, generator=random).double()
    noise = torch.randn(11, rows, 4, generator=random).double()
    sampler = AncestralSampler(made, 11, temperature=0.9, clip=clip)
    expected = denoise(made, z, 2.5, noise, sampler)
    fast = sampler(z, torch.tensor(2.5), noise)
    torch.testing.assert_close(fast, expected, atol=1e-9 * expected.abs().max().item(), rtol=1e-6)


def first_of_order(order: Tensor, count: int) -> Tensor:
    """True at the tokens among the first `count` of each image's order."""
    marks = torch.zeros(order.shape, dtype=torch.bool)
    return marks.scatter(1, order[:, :count], True)


def plain_z(made: MAR, y: Tensor, hidden: Tensor, condition: Tensor) -> Tensor:
    """z of every token, all blocks on all tokens, hidden ones marked by True."""
    size = made.config.buffer_size
    known = torch.cat((torch.ones(len(y), size, dtype=torch.bool), ~hidden), 1)
    h = torch.cat((condition.expand(-1, size, -1), made.z_proj(y)), 1)
    h = made.z_proj_ln(h + made.encoder_pos)[known].view(len(y), -1, made.encoder_pos.shape[-1])
    for block in made.encoder_blocks:
        h = block(h)
    canvas = made.mask_token.expand(*known.shape, -1).clone()
    canvas[known] = made.decoder_embed(made.encoder_norm(h)).flatten(0, 1)
    h = canvas + made.decoder_pos
    for block in made.decoder_blocks:
        h = block(h)
    return made.decoder_norm(h)[:, size:] + made.head_pos


@torch.no_grad()
@pytest.mark.parametrize(
    ("guidance", "schedule", "ordered"),
    [
        (1.0, "linear", False),
        (3.0, "linear", False),
        (2.0, "constant", False),
        (2.0, "linear", True),
    ],
)
def test_sampling_equals_decoding_every_token(
    guidance: float, schedule: str, ordered: bool
) -> None:
    made = model(ordered=ordered)
    config = sampler_config("mar", guidance=guidance, guidance_schedule=schedule, clip=1.0)
    noise = ImageNoise(0, range(4), torch.device("cpu"))
    order = noise.orders(16)
    if ordered:
        order = torch.arange(15, -1, -1).expand(4, 16)
    y, hidden = torch.zeros(4, 16, 3), torch.ones(4, 16, dtype=torch.bool)
    sampler = AncestralSampler(made.head, config.num_steps, config.temperature, config.clip)
    for count in orders.hidden_counts(16, config.num_iter):
        remaining = first_of_order(order, count)
        new = hidden & ~remaining
        condition = made.embed_labels(LABELS)
        classes = [condition, made.null_class.expand_as(condition)][: 1 if guidance == 1 else 2]
        z = torch.stack([plain_z(made, y, hidden, each)[new] for each in classes])
        numbers = noise.normal(config.num_steps, int(new[0].sum()), 3).transpose(0, 1)
        scale = mar_guidance(config, 16, count)
        y[new] = denoise(made.head, z, scale, numbers.flatten(1, 2), sampler)
        hidden = remaining
    fast = made.sample(LABELS, ImageNoise(0, range(4), torch.device("cpu")), config)
    torch.testing.assert_close(fast, y, atol=1e-4, rtol=1e-4)


def plain_loss(made: MAR, y: Tensor, draws: Draws) -> Tensor:
    """The head on every token and noise level; the loss of known tokens is multiplied by zero."""
    hidden = first_of_order(draws.order, draws.num_hidden)
    z = plain_z(made, y, hidden, made.embed_labels(LABELS, draws.label_drop))
    losses = []
    for step, noise in zip(draws.step, draws.noise, strict=True):
        x_t = made.head.schedule.add_noise(y.flatten(0, 1), step.flatten(), noise.flatten(0, 1))
        condition = made.head.time_embed(step.flatten().float()) + made.head.cond_embed(
            z.flatten(0, 1)
        )
        eps, v = made.head.net(x_t, condition)
        bound = variational_bound(
            made.head.schedule, y.flatten(0, 1), x_t, step.flatten(), eps.detach(), v
        )
        loss = F.mse_loss(eps, noise.flatten(0, 1), reduction="none").mean(-1) + bound
        losses.append(loss.view(hidden.shape) * hidden)
    return torch.stack(losses).sum() / (len(losses) * hidden.sum())


def test_ordered_training_hides_the_last_tokens_and_draws_the_same_numbers() -> None:
    ordered, usual = (
        model(ordered=each).draw(4, 0.0, torch.Generator().manual_seed(3)) for each in (True, False)
    )
    hidden = ordered.order[:, : ordered.num_hidden].sort(1).values
    assert torch.equal(hidden, torch.arange(16 - ordered.num_hidden, 16).expand(4, -1))
    assert ordered.num_hidden == usual.num_hidden and torch.equal(ordered.noise, usual.noise)


def test_loss_and_gradients_equal_those_over_all_tokens() -> None:
    made, y = model(), tokens("mar")
    draws = made.draw(4, 0.0, torch.Generator().manual_seed(3))
    draws.num_hidden, draws.label_drop = 12, torch.tensor([True, False, False, True])
    parameters = list(made.parameters())
    loss = made.loss(y, LABELS, draws)
    expected = plain_loss(made, y, draws)
    torch.testing.assert_close(loss.value, expected)
    ours = torch.autograd.grad(loss.value, parameters)
    torch.testing.assert_close(
        ours, torch.autograd.grad(expected, parameters), atol=1e-4, rtol=1e-3
    )


def test_error_of_the_loss_is_zero_at_known_tokens_only() -> None:
    made, y = model(), tokens("mar")
    draws = made.draw(4, 0.0, torch.Generator().manual_seed(3))
    draws.num_hidden = 12
    error = made.loss(y, LABELS, draws).error
    assert error is not None
    hidden = first_of_order(draws.order, 12).repeat(made.config.head_batch_mul, 1)
    assert torch.equal(error.abs().sum(-1) > 0, hidden)


@torch.no_grad()
def test_bf16_head_answers_in_single_precision() -> None:
    """One denoising step: within 2 % of the fp32 network, and not rounded to bf16 at the end."""
    made, random = head().float(), torch.Generator().manual_seed(4)
    x, y = torch.randn(300, 4, generator=random), torch.randn(300, 16, generator=random)
    exact = torch.cat(made.net(x, y))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = torch.cat(made.net(x, y))
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, rounded.bfloat16().float())
    assert 0 < (rounded - exact).std() < 0.02 * exact.std()


@torch.no_grad()
def test_first_step_of_a_bf16_sampler_is_the_fp32_one() -> None:
    """It multiplies errors of the noise by hundreds; the steps after it do not."""
    random = torch.Generator().manual_seed(4)
    sampler = AncestralSampler(head().float(), 100, temperature=1.0, clip=0.0)
    assert sampler.steps[0].gain > 300 and max(step.gain for step in sampler.steps[1:]) < 2
    sampler.steps = sampler.steps[:1]
    z, noise = torch.randn(2, 30, 6, generator=random), torch.randn(1, 30, 4, generator=random)
    exact = sampler(z, torch.tensor(2.0), noise)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sampler(z, torch.tensor(2.0), noise), exact)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_bf16_samples_are_within_one_percent(guidance: float) -> None:
    """Of the standard deviation of the tokens, with a head whose noise prediction is sensible."""
    fixture = open_fixture(fixture_path("mar_open.safetensors"))
    special = fixture.part("weights_sampling.").items()
    made = build(fixture).eval()
    weights = {our_name("mar", name): tensor for name, tensor in special}
    made.load_state_dict(made.state_dict() | weights)
    config = sampler_config("mar", guidance=guidance, num_steps=100)
    noise = [ImageNoise(0, range(4), torch.device("cpu")) for _ in range(2)]
    exact = made.sample(LABELS, noise[0], config)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made.sample(LABELS, noise[1], config)
    assert 0 < (rounded - exact).square().mean().sqrt() < 0.01 * exact.std()


def test_bf16_loss_and_gradients_are_near_the_fp32_ones() -> None:
    """The loss within 2 %; gradients, which are fp32, point the same way."""
    made, y = model(), tokens("mar")
    draws = made.draw(4, 0.0, torch.Generator().manual_seed(3))
    exact = made.loss(y, LABELS, draws).value
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made.loss(y, LABELS, draws).value
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0, rtol=0.02)
    parameters = list(made.parameters())
    gradients = [torch.autograd.grad(loss, parameters) for loss in (exact, rounded)]
    ours, theirs = (torch.cat([part.flatten() for part in parts]) for parts in gradients)
    assert F.cosine_similarity(ours, theirs, 0) > 0.999
