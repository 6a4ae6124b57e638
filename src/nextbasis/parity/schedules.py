"""Respacings of diffusion as the fixtures tabulate them: which steps, and their coefficients."""

import math
import re
from collections.abc import Callable

from torch import Tensor

from nextbasis.families.common.schedule import NUM_STEPS, Schedule, space_steps
from nextbasis.parity.fixture import Fixture

RESPACING = re.compile(r"full|(ddim)?\d+|\d+(_\d+)+")
TOLERANCE = 1e-5  # of each entry; our tables are single precision
TABLES = {
    "posterior_log_variance_clipped": "log_posterior",
    "posterior_mean_coef1": "mean_x0",
    "posterior_mean_coef2": "mean_xt",
    "sqrt_alphas_cumprod": "alpha_bar_sqrt",
    "sqrt_one_minus_alphas_cumprod": "noise_sqrt",
    "sqrt_recip_alphas_cumprod": "recip_sqrt",
    "sqrt_recipm1_alphas_cumprod": "recip_m1_sqrt",
}  # official name -> ours


def check_schedules(fixture: Fixture, betas: Callable[[], Tensor]) -> None:
    """Compare steps and coefficients of every respacing under sched.*."""
    fixture.check("sched.train.betas", betas(), relative=True, tolerance=TOLERANCE)
    names = {name.split(".")[1] for name in fixture.tensors if name.startswith("sched.")}
    for name in sorted(name for name in names if RESPACING.fullmatch(name)):
        schedule = Schedule(timesteps(name), betas)
        fixture.check(f"sched.{name}.timestep_map", schedule.original_step)
        tables = {official: getattr(schedule, ours) for official, ours in TABLES.items()}
        tables["betas"] = schedule.log_beta.double().exp()
        tables["alphas_cumprod"] = schedule.alpha_bar_sqrt.double().square()
        for official, values in tables.items():
            fixture.check(f"sched.{name}.{official}", values, relative=True, tolerance=TOLERANCE)


def timesteps(respacing: str) -> list[int]:
    """Steps of a respacing: full, a count, ddim<count> (a stride), or <count>_<count>_… by section.

    The package samples with a count only; the others serve comparisons (Nichol & Dhariwal 2021,
    sec. 4; DDIM).
    """
    if respacing == "full":
        return list(range(NUM_STEPS))
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
