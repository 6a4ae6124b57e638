"""xAR's sampler, with its cache and skipped work, against the plain algorithm."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from builders import generator, sampler_config
from nextbasis.families.common.attention import grid_rotation, rotate
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.xar.config import XARSamplerConfig
from nextbasis.families.xar.model import XAR

LABELS = torch.tensor([3, 0, 3])
EULER, STOCHASTIC = "euler", "euler_maruyama"


def backbone(cells_per_side: int = 2, dropout: float = 0.0) -> XAR:
    return generator("xar", cells_per_side=cells_per_side, dropout=dropout).backbone.eval()


def noise() -> ImageNoise:
    return ImageNoise(0, range(3), torch.device("cpu"))


def told(time: float) -> float:
    """Whole thousandths of the time as a float32, in units of 1."""
    return int(torch.tensor(time, dtype=torch.float32) * 1000) / 1000 + 1e-4


def plain_velocity(model: XAR, clean: list[Tensor], z: Tensor, time: float, strength: float):
    """One pass over all clean cells, at time 0, and this one, for both halves, then guided."""
    times = torch.tensor([[0.0] * len(clean) + [told(time)]])
    tokens = torch.cat((*clean, z.float()), 1)
    halves = [
        model.velocity(tokens, model.condition(labels, times))[:, -model.cell_size :]
        for labels in (LABELS, torch.full_like(LABELS, model.null_label))
    ]
    return halves[1] + strength * (halves[0] - halves[1])


def plain_cell(
    velocity: Callable[[Tensor, float], Tensor],
    normal: Callable[[], Tensor],
    sampler: XARSamplerConfig,
) -> Tensor:
    """The solvers as their papers write them."""
    n = sampler.num_steps
    z = normal()
    if sampler.solver == EULER:
        for i in range(n):
            z = z - velocity(z, 1 - i / n) / n
        return z
    z = z.double()
    times = [1 - 0.96 * i / (n - 1) for i in range(n)] + [0.0]
    for t, t_next in pairwise(times):
        v = velocity(z, t).double()
        score = (-(1 - t) * v - z) / t
        z = z + (v - t * score) * (t_next - t)
        if t_next > 0:
            z = z + (2 * t) ** 0.5 * normal().double() * (t - t_next) ** 0.5
    return z.float()


@torch.no_grad()
def plain_sample(model: XAR, sampler: XARSamplerConfig) -> Tensor:
    """No cache, both halves always, nothing computed ahead."""
    source, cells = noise(), list[Tensor]()
    for index in range(model.num_cells):
        strength = 1 + (sampler.guidance - 1) * index / max(model.num_cells - 1, 1)
        cells.append(
            plain_cell(
                lambda z, t, strength=strength: plain_velocity(model, cells, z, t, strength),
                lambda: source.normal(model.cell_size, model.channels),
                sampler,
            )
        )
    return torch.cat(cells, 1)


@pytest.mark.parametrize("cells_per_side", [1, 2, 4])
@pytest.mark.parametrize("solver", [EULER, STOCHASTIC])
@pytest.mark.parametrize("guidance", [1.0, 2.7])
def test_sampler_equals_the_plain_one(cells_per_side: int, solver: str, guidance: float) -> None:
    model = backbone(cells_per_side)
    sampler = sampler_config("xar", guidance=guidance, solver=solver, num_steps=3)
    fast = model.sample(LABELS, noise(), sampler)
    torch.testing.assert_close(fast, plain_sample(model, sampler), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 2.7])
def test_null_rows_are_computed_only_where_they_count(guidance: float) -> None:
    """Images of every call: both halves in guided cells, and of the clean ones before them."""
    model = backbone()
    rows: list[int] = []
    model.pred.register_forward_hook(lambda _, __, out: rows.append(len(out)))
    model.sample(LABELS, noise(), sampler_config("xar", guidance=guidance, num_steps=4))
    count = 6 if guidance > 1 else 3
    assert rows == [3] * 4 + 3 * ([count] + [count] * 4)


def test_modulations_are_computed_once_for_all_cells_and_distinct_classes() -> None:
    model = backbone()
    shapes: list[tuple[int, ...]] = []
    block = model.decoder_blocks[0]
    block.ada_lin.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    model.sample(LABELS, noise(), sampler_config("xar", num_steps=4))
    classes, times, parts = 3, 5, 6 * 16  # two labels and null; four steps and the clean cells
    assert shapes == [(classes, times, parts)]


@torch.no_grad()
def test_sampling_in_bfloat16_integrates_in_float32_and_stays_close() -> None:
    """Products have 8 bits: velocities agree to 2 % of their spread, samples to 5 %."""
    model = backbone()
    sampler = sampler_config("xar", guidance=2.7, solver=EULER, num_steps=4)
    exact = model.sample(LABELS, noise(), sampler)
    times = torch.full((3, 4), 0.3)
    velocity = model.velocity(exact, model.condition(LABELS, times))
    with torch.autocast("cpu", torch.bfloat16):
        cache = model._cache(2)
        near = model.sample(LABELS, noise(), sampler)
        rough = model.velocity(exact, model.condition(LABELS, times))
    assert cache.memory.dtype == torch.bfloat16
    assert near.dtype == rough.dtype == torch.float32
    assert 0 < (rough - velocity).std() < 0.02 * velocity.std()
    assert 0 < (near - exact).std() < 0.05 * exact.std()


def test_rotation_equals_complex_numbers_written_out() -> None:
    """Pair i of a token in row r, column c turns by r or c times 10000^(-2i / half)."""
    rotation = grid_rotation(2, 3, 8)
    x = torch.randn(1, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, rotation)
    for token, position in enumerate((r, c) for r in range(2) for c in range(3)):
        for pair in range(4):
            angle = position[pair // 2] * 10000.0 ** (-2 * (pair % 2) / 4)
            a, b = x[0, 0, token, 2 * pair : 2 * pair + 2].tolist()
            expected = complex(a, b) * torch.polar(torch.ones(1), torch.tensor([angle])).item()
            torch.testing.assert_close(
                turned[0, 0, token, 2 * pair : 2 * pair + 2],
                torch.tensor([expected.real, expected.imag]),
            )


def test_rotation_is_the_same_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    rotation, x = grid_rotation(2, 3, 8), torch.randn(2, 2, 6, 8)
    eager = rotate(x, rotation)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotate(x, rotation), eager)
