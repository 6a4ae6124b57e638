"""Every named basis against a construction that shares nothing with it."""

import json

import numpy as np
import pytest
import pywt
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from scipy.linalg import hadamard, toeplitz
from torch import Tensor
from torch.nn.functional import interpolate

from fixtures_at_hand import fixture_path
from nextbasis.basis import make, names
from nextbasis.basis.constructions.pyramids import default_levels, default_scales
from nextbasis.basis.definition import Basis
from nextbasis.basis.listing import field
from nextbasis.basis.statistics import klt, with_unit_rows

VAR_16 = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
VAR_8 = (1, 2, 3, 4, 5, 6, 8)
JPEG_ZIGZAG = """
0 1 8 16 9 2 3 10 17 24 32 25 18 11 4 5 12 19 26 33 40 48 41 34 27 20 13 6 7 14 21 28
35 42 49 56 57 50 43 36 29 22 15 23 30 37 44 51 58 59 52 45 38 31 39 46 53 60 61 54 47 55 62 63
"""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(height: int, width: int, count: int = 3) -> Tensor:
    """White noise of shape (count, 1, height, width), float64."""
    return torch.randn(count, 1, height, width, generator=seeded(), dtype=torch.float64)


def rows_of(basis: Basis, x: Tensor) -> Tensor:
    """y = A x of images with one channel, (count, rows)."""
    return basis.forward(rearrange(x, "b d h w -> b (h w) d"))[..., 0]


# Rows, singular values and sizes of steps, as published or computed elsewhere.
@pytest.mark.parametrize(
    ("name", "options", "side", "rows", "low", "high", "steps"),
    [
        ("raster", {}, 8, 64, 1, 1, [1] * 64),
        ("xar", {}, 16, 256, 1, 1, [64] * 4),
        ("xar", {"cells_per_side": 4}, 16, 256, 1, 1, [16] * 16),
        ("par", {}, 16, 256, 1, 1, [1] * 4 + [4] * 63),
        ("par", {}, 8, 64, 1, 1, [1] * 4 + [4] * 15),
        ("par", {"region": 4}, 16, 256, 1, 1, [1] * 16 + [16] * 15),
        ("par", {"region": 4}, 8, 64, 1, 1, [1] * 16 + [16] * 3),
        ("fractalgen", {"guiding_pixel": True}, 16, 272, 1, 1.0308, [1] * 272),
        ("fractalgen", {"guiding_pixel": True}, 8, 68, 1, 1.0308, [1] * 68),
        ("var", {}, 16, 680, 0.0625, 1.1618, [p * p for p in VAR_16]),
        ("var", {}, 8, 155, 0.125, 1.205, [p * p for p in VAR_8]),
        ("var_pool", {}, 16, 680, 1, 1.666, [p * p for p in VAR_16]),
        ("var_pool", {}, 8, 155, 1, 1.583, [p * p for p in VAR_8]),
        ("far", {}, 16, 2560, 1, 3.183, [256] * 10),
        ("far", {}, 8, 448, 1, 2.687, [64] * 7),
        ("far_telescoped", {}, 16, 2560, 0.5404, 1.946, [256] * 10),
        ("far_telescoped", {}, 8, 448, 0.651, 1.627, [64] * 7),
        ("far_dct", {}, 16, 256, 1, 1, [2 * k + 1 for k in range(16)]),
        ("haar", {}, 16, 256, 1, 1, [1, 3, 12, 48, 192]),
        ("haar", {}, 8, 64, 1, 1, [1, 3, 12, 48]),
        ("scaled", {"scale": 0.5}, 8, 64, 0.5, 0.5, [1] * 64),
    ],
)
def test_rows_singular_values_and_steps_are_the_known_ones(
    name: str, options: dict, side: int, rows: int, low: float, high: float, steps: list[int]
) -> None:
    basis = make(name, side, side, **options)
    sigma = torch.linalg.svdvals(basis.A)
    assert basis.A.shape == (rows, side * side) and basis.rank == side * side
    assert sigma.min().item() == pytest.approx(low, abs=6e-4)
    assert sigma.max().item() == pytest.approx(high, abs=6e-4)
    assert basis.condition == pytest.approx((sigma.max() / sigma.min()).item())
    assert [len(step) for step in basis.steps] == steps
    assert basis.inverse_error < 1e-13


@pytest.mark.parametrize(
    ("name", "side", "gain"),
    [("var", 16, 8.38), ("var", 8, 6.11), ("far_telescoped", 16, 10), ("var_pool", 16, 1)],
)
def test_noise_gain_is_the_variance_of_decoded_noise(name: str, side: int, gain: float) -> None:
    basis = make(name, side, side)
    assert basis.noise_gain == pytest.approx(gain, abs=5e-3)
    noise = torch.randn(2000, basis.num_rows, 1, generator=seeded(), dtype=torch.float64)
    assert basis.inverse(noise).square().mean().item() == pytest.approx(gain, rel=0.05)


def test_scans_are_those_printed_in_the_paper() -> None:
    printed = json.loads(fixture_path("scan_orders_16x16.json").read_text())
    for name, order in printed.items():
        basis = make({"row_major": "raster"}.get(name, name), 16, 16)
        assert basis.A.argmax(1).tolist() == order, name


def test_xar_and_par_are_rearrangements() -> None:
    x = images(16, 24)
    cells = rearrange(x, "b 1 (p h) (q w) -> b (p q h w)", p=2, q=2)
    assert torch.equal(rows_of(make("xar", 16, 24), x), cells)
    for region in (2, 4):
        regions = rearrange(x, "b 1 (d1 h) (d2 w) -> b (h w d1 d2)", d1=region, d2=region)
        assert torch.equal(rows_of(make("par", 16, 24, region=region), x), regions)
    assert torch.equal(make("par", 16, 16).A, make("subsample", 16, 16).A)


def test_guiding_pixels_are_means_before_their_blocks() -> None:
    x = images(8, 12)
    y = rows_of(make("fractalgen", 8, 12, sizes=(4, 2, 1), guiding_pixel=True), x)
    expected = []
    for block in rearrange(x, "b 1 (h p) (w q) -> (h w) b p q", p=4, q=4):
        expected.append(block.mean((1, 2)))
        for part in rearrange(block, "b (h p) (w q) -> (h w) b (p q)", p=2, q=2):
            expected += [part.mean(1), *part.T]
    torch.testing.assert_close(y, torch.stack(expected, 1))


@pytest.mark.parametrize(
    ("height", "width", "sizes"),
    [
        (16, 16, [(p, p) for p in VAR_16]),
        (8, 8, [(p, p) for p in VAR_8]),
        (4, 8, [(1, 1), (1, 2), (2, 3), (2, 4), (2, 5), (3, 6), (4, 8)]),
    ],
)
def test_var_is_the_loop_over_residual_images(
    height: int, width: int, sizes: list[tuple[int, int]]
) -> None:
    x = images(height, width)
    rest, y, pools = x, [], []
    for size in sizes:
        small = interpolate(rest, size=size, mode="area")
        y.append(small.flatten(1))
        rest = rest - interpolate(small, size=(height, width), mode="bicubic")
        pools.append(interpolate(x, size=size, mode="area").flatten(1))
    torch.testing.assert_close(rows_of(make("var", height, width), x), torch.cat(y, 1))
    torch.testing.assert_close(rows_of(make("var_pool", height, width), x), torch.cat(pools, 1))


@pytest.mark.parametrize(("side", "levels"), [(16, range(2, 11)), (8, range(2, 8))])
def test_far_is_down_and_up_sampling(side: int, levels: range) -> None:
    x = images(side, side)
    chain = [
        interpolate(
            interpolate(x, size=(c, c), mode="area"), size=(side, side), mode="bicubic"
        ).flatten(1)
        for c in levels
    ] + [x.flatten(1)]
    torch.testing.assert_close(rows_of(make("far", side, side), x), torch.cat(chain, 1))
    gains = [chain[0], *(b - a for a, b in zip(chain, chain[1:], strict=False))]
    torch.testing.assert_close(rows_of(make("far_telescoped", side, side), x), torch.cat(gains, 1))


def test_low_pass_of_far_is_singular_with_the_known_spectrum() -> None:
    level_8 = make("far", 16, 16, levels=(8,)).A[:256]
    sigma = torch.linalg.svdvals(level_8)
    assert (sigma > 1e-10).sum() == 64
    assert sigma[0].item() == pytest.approx(1.024, abs=6e-4)
    assert sigma[63].item() == pytest.approx(0.527, abs=6e-4)


def test_dct_is_that_of_scipy_in_jpeg_order() -> None:
    x = images(8, 8)
    spectrum = torch.from_numpy(dctn(x.numpy(), axes=(2, 3), norm="ortho")).flatten(1)
    zigzag = torch.tensor([int(word) for word in JPEG_ZIGZAG.split()])
    torch.testing.assert_close(rows_of(make("dct", 8, 8), x), spectrum[:, zigzag])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (5, 9)])
def test_far_dct_is_that_of_scipy_by_the_larger_frequency(height: int, width: int) -> None:
    x = images(height, width)
    spectrum = dctn(x.numpy(), axes=(2, 3), norm="ortho")[:, 0]
    basis = make("far_dct", height, width)
    y = rows_of(basis, x)
    for band, step in enumerate(basis.steps):
        expected = [
            spectrum[:, u, v] for u in range(height) for v in range(width) if max(u, v) == band
        ]
        np.testing.assert_allclose(y[:, list(step)].numpy(), np.stack(expected, 1), atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 16)])
def test_walsh_is_scipys_hadamard_matrix_by_sign_changes(height: int, width: int) -> None:
    def functions(side: int) -> np.ndarray:
        rows = hadamard(side).astype(float)
        return rows[np.argsort(np.abs(np.diff(rows)).sum(1))] / np.sqrt(side)

    expected = np.kron(functions(height), functions(width))
    places = sorted(
        ((u, v) for u in range(height) for v in range(width)),
        key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]),
    )
    order = [u * width + v for u, v in places]
    np.testing.assert_allclose(make("walsh", height, width).A.numpy(), expected[order], atol=1e-15)


@pytest.mark.parametrize("side", [2, 8, 16])
def test_haar_is_that_of_pywavelets(side: int) -> None:
    x = images(side, side)
    coarse, *levels = pywt.wavedec2(x.numpy()[:, 0], "haar", mode="periodization")
    parts = [coarse] + [band for down, across, both in levels for band in (across, down, both)]
    expected = np.concatenate([part.reshape(len(x), -1) for part in parts], 1)
    np.testing.assert_allclose(rows_of(make("haar", side, side), x).numpy(), expected, atol=1e-13)


def test_haar_of_a_row_is_that_of_pywavelets() -> None:
    x = images(1, 16)
    expected = np.concatenate(pywt.wavedec(x.numpy()[:, 0, 0], "haar", mode="periodization"), 1)
    np.testing.assert_allclose(rows_of(make("haar", 1, 16), x).numpy(), expected, atol=1e-13)


def test_klt_rows_are_singular_vectors_of_the_tokens() -> None:
    tokens = torch.randn(50, 6, 3, generator=seeded(), dtype=torch.float64)
    tokens = 1 + tokens * torch.arange(1, 7)[:, None]  # uncentred: a mean counts as energy
    basis = make("klt", 2, 3, tokens=tokens)
    stacked = rearrange(tokens, "s n d -> (s d) n").numpy()
    vectors = torch.from_numpy(np.linalg.svd(stacked, full_matrices=False)[2])
    torch.testing.assert_close((basis.A * vectors).sum(1).abs(), torch.ones(6).double())
    torch.testing.assert_close(basis.A.float(), klt(tokens))


@pytest.mark.parametrize(("side", "rows", "floor"), [(16, 32, 0.0259), (8, 16, 0.0095)])
def test_titok_loses_the_energy_of_the_other_eigenvalues(
    side: int, rows: int, floor: float
) -> None:
    line = np.linalg.eigvalsh(toeplitz(0.95 ** np.arange(side)))
    energies = np.sort(np.kron(line, line))[::-1]
    assert energies[rows:].sum() / energies.sum() == pytest.approx(floor, rel=0.01)
    tokens = field(side, side)
    basis = make("titok", side, side, tokens=tokens, num_rows=rows)
    lost = (basis.inverse(basis.forward(tokens)) - tokens).square().sum() / tokens.square().sum()
    assert lost.item() == pytest.approx(floor, rel=0.05)
    assert (
        basis.kind == "lossy" and make("titok", side, side, tokens=tokens).num_rows == side**2 / 4
    )


def test_random_comes_from_its_seed_or_generator() -> None:
    first = make("random", 3, 4).A
    assert torch.equal(first, make("random", 3, 4, generator=seeded()).A)
    assert (first - make("random", 3, 4, seed=1).A).abs().max() > 0.1


def test_rar_draws_permutations_whose_mean_is_its_matrix() -> None:
    basis, generator = make("rar", 2, 3, ratio=0.4), seeded()
    draws = [basis.draw(generator) for _ in range(600)]
    assert {draw.kind for draw in draws} == {"permutation"}
    torch.testing.assert_close(
        torch.stack([draw.A for draw in draws]).mean(0), basis.A, atol=0.08, rtol=0
    )
    expected = 0.6 * torch.eye(6) + 0.4 / 6
    torch.testing.assert_close(basis.A, expected.double())
    assert basis.singular_values[-1].item() == pytest.approx(0.6)
    assert make("rar", 4, 4).condition == float("inf") and make("rar", 4, 4).rank == 1
    x = torch.randn(2, 6, 3, generator=seeded())
    assert torch.equal(draws[0].inverse(draws[0].forward(x)), x)
    with pytest.raises(ValueError, match="is a distribution: draw a permutation first"):
        basis.forward(x)
    fixed = make("dct", 2, 3)
    assert fixed.draw(generator) is fixed


def test_gain_gives_rows_unit_scale_and_is_undone() -> None:
    tokens = field(8, 8)
    basis = with_unit_rows(make("var", 8, 8), tokens)
    y = basis.forward(tokens)
    torch.testing.assert_close(y.square().mean((0, 2)).sqrt(), torch.ones(155).double())
    torch.testing.assert_close(basis.inverse(y), tokens)


def test_default_scales_and_levels() -> None:
    assert default_scales(16) == VAR_16 and default_scales(8) == VAR_8
    assert default_scales(32) == (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)
    assert default_levels(16) == tuple(range(2, 11)) and default_levels(2) == ()
    for side in range(1, 70):
        scales = default_scales(side)
        assert scales[0] == 1 and scales[-1] == side and sorted(set(scales)) == list(scales)


SIDES = st.integers(1, 8)


@given(st.sampled_from(names()), SIDES, SIDES, st.integers(0, 100))
@settings(max_examples=150, deadline=None)
def test_algebra_holds_on_any_grid_or_the_reason_is_told(
    name: str, height: int, width: int, seed: int
) -> None:
    n = height * width
    tokens = torch.randn(n + 3, n, 2, generator=seeded(seed), dtype=torch.float64)
    try:
        basis = make(
            name, height, width, **({"tokens": tokens} if name in ("klt", "titok") else {})
        )
    except ValueError as reason:
        powers = not height & (height - 1) and not width & (width - 1)
        assert str(reason).startswith(f"basis '{name}': ")
        assert (
            (name in ("haar", "walsh") and not powers)
            or (name in ("subsample", "xar", "par") and (height % 2 or width % 2))
            or (name == "titok" and n < 4)
        )
        return
    basis = basis.draw(seeded(seed))
    x = tokens[:2]
    y = basis.forward(x)
    assert [row for step in basis.steps for row in step] == list(range(basis.num_rows))
    assert torch.linalg.matrix_rank(basis.A).item() == basis.rank == min(basis.A.shape)
    if basis.kind == "lossy":
        torch.testing.assert_close(basis.forward(basis.inverse(y)), y)
    else:
        torch.testing.assert_close(basis.inverse(y), x)
    if basis.kind in ("permutation", "orthogonal"):
        torch.testing.assert_close(y.square().sum(1), x.square().sum(1))
