"""Compare MAR's diffusion head with a fixture: loss terms, network, denoising step, schedules."""

import torch
from torch import Tensor

from nextbasis.families.common.diffusion import DiffusionHead
from nextbasis.families.common.schedule import (
    Schedule,
    cosine_betas,
    space_steps,
    variational_bound,
)
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.schedules import check_schedules


@torch.no_grad()
def run(fixture: Fixture, head: DiffusionHead) -> None:
    """Compare dl.* and sched.*."""
    if fixture.holds("dl.x"):
        check_network(fixture, head)
    if fixture.holds("dl.p."):
        check_step(fixture, head)
    check_schedules(fixture, cosine_betas)


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
    bound = variational_bound(head.schedule, x0, x_t, step, eps, v)
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
