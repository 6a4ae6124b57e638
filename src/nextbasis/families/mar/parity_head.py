"""Compare MAR's diffusion head with a fixture: loss terms, network, denoising step, schedules."""

import math
import re

import torch
from torch import Tensor

from nextbasis.families.common.diffusion import DiffusionHead
from nextbasis.families.common.schedule import NUM_STEPS, Schedule, cosine_betas, space_steps
from nextbasis.parity.fixture import Fixture

RESPACING = re.compile(r"(ddim)?\d+|\d+(_\d+)+")
SCHEDULE_TOLERANCE = 1e-5  # of each entry; our tables are single precision
TABLES = {
    "posterior_log_variance_clipped": "log_posterior",
    "posterior_mean_coef1": "mean_x0",
    "posterior_mean_coef2": "mean_xt",
    "sqrt_alphas_cumprod": "alpha_bar_sqrt",
    "sqrt_one_minus_alphas_cumprod": "noise_sqrt",
    "sqrt_recip_alphas_cumprod": "recip_sqrt",
    "sqrt_recipm1_alphas_cumprod": "recip_m1_sqrt",
}  # official name -> ours


@torch.no_grad()
def run(fixture: Fixture, head: DiffusionHead) -> None:
    """Compare dl.* and sched.*."""
    if fixture.holds("dl.x"):
        check_network(fixture, head)
    if fixture.holds("dl.p."):
        check_step(fixture, head)
    check_schedules(fixture)


def check_terms(
    fixture: Fixture, head: DiffusionHead, y: Tensor, z: Tensor, step: Tensor, noise: Tensor
) -> None:
    """Compare the loss of every row: noise levels in front of images and tokens."""
    x0 = y.expand(len(step), -1, -1, -1).reshape(-1, y.shape[-1])
    rows = z.expand(len(step), -1, -1, -1).reshape(-1, z.shape[-1])
    step, noise = step.flatten(), noise.flatten(0, 2)
    x_t = head.schedule.add_noise(x0, step, noise)
    fixture.check("loss.x_t", x_t)
    eps, v = head.net(x_t, head.time_embed(step.float()) + head.cond_embed(rows))
    fixture.check("loss.net_out", torch.cat((eps, v), -1))
    total, error = head.loss(x0, rows, step[None], noise[None])
    fixture.check("loss.terms_mse", error[0].square().mean(-1), relative=True)
    bound = head._bound(x0, x_t, step, eps, v)
    fixture.check("loss.terms_vb", bound, relative=True)
    fixture.check("loss.terms_loss", total[0], relative=True)


def check_network(fixture: Fixture, head: DiffusionHead) -> None:
    """Compare the network, and its guided output for every dl.cfg_out_<guidance>."""
    x, time, z = fixture["dl.x"], fixture["dl.t"].float(), fixture["dl.c"]
    condition = head.time_embed(time) + head.cond_embed(z)
    eps, v = head.net(x, condition)
    fixture.check("dl.eps", eps)
    fixture.check("dl.var_values", v)
    fixture.check("dl.out", torch.cat((eps, v), -1))
    for name, guidance in fixture.numbered("dl.cfg_out_"):
        half = x[: len(x) // 2]
        eps, v = head.net(torch.cat((half, half)), condition)
        given, null = eps.chunk(2)
        guided = null + guidance * (given - null)
        fixture.check(name, torch.cat((torch.cat((guided, guided)), v), -1))


def check_step(fixture: Fixture, head: DiffusionHead) -> None:
    """Compare one denoising step of the respaced schedule, at step indices dl.p.index."""
    steps = space_steps(fixture.value("description", "diffusion_steps"))
    schedule = Schedule(steps).to(fixture.device)
    step, x = fixture["dl.p.index"].long(), fixture["dl.x"]
    time = head.time_embed(schedule.original_step[step].float())
    eps, v = head.net(x, time + head.cond_embed(fixture["dl.c"]))
    x0 = schedule.predict_x0(x, step, eps)
    mean, log_variance = schedule.posterior_mean(x0, x, step), schedule.log_variance(step, v)
    fixture.check("dl.p.pred_xstart", x0, relative=True)
    fixture.check("dl.p.mean", mean, relative=True)
    fixture.check("dl.p.log_variance", log_variance)
    fixture.check("dl.p.variance", log_variance.exp(), relative=True)
    for name, temperature in fixture.numbered("dl.p.sample_temp"):
        noise = (step > 0)[:, None] * fixture["dl.p.noise"]
        drawn = mean + temperature * torch.exp(0.5 * log_variance) * noise
        fixture.check(name, drawn, relative=True)


def check_schedules(fixture: Fixture) -> None:
    """Compare steps and coefficients of every respacing."""
    fixture.check("sched.train.betas", cosine_betas(), relative=True, tolerance=SCHEDULE_TOLERANCE)
    names = {name.split(".")[1] for name in fixture.tensors if name.startswith("sched.")}
    for name in sorted(name for name in names if RESPACING.fullmatch(name)):
        schedule = Schedule(timesteps(name))
        fixture.check(f"sched.{name}.timestep_map", schedule.original_step)
        tables = {official: getattr(schedule, ours) for official, ours in TABLES.items()}
        tables["betas"] = schedule.log_beta.double().exp()
        for official, values in tables.items():
            key = f"sched.{name}.{official}"
            fixture.check(key, values, relative=True, tolerance=SCHEDULE_TOLERANCE)


def timesteps(respacing: str) -> list[int]:
    """Steps of a respacing: a count, ddim<count> (a stride), or <count>_<count>_… by sections.

    The package samples with a count only; the other two serve this comparison (Nichol & Dhariwal
    2021, sec. 4; DDIM).
    """
    if respacing.startswith("ddim"):
        count = int(respacing.removeprefix("ddim"))
        for stride in range(1, NUM_STEPS):
            if math.ceil(NUM_STEPS / stride) == count:
                return list(range(0, NUM_STEPS, stride))
        raise ValueError(f"no stride gives the {count} steps of sched.{respacing}")
    counts = [int(count) for count in respacing.split("_")]
    if len(counts) == 1:
        return space_steps(counts[0])
    steps, start = [], 0
    for index, count in enumerate(counts):
        size = NUM_STEPS // len(counts) + (index < NUM_STEPS % len(counts))
        within = space_steps(count, size) if count > 1 else [0]
        steps += [start + step for step in within]
        start += size
    return steps
