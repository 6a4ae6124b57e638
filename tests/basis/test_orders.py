import math

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbasis.basis import orders
from nextbasis.basis.registry import order_names

SIDES = st.integers(1, 6)
EVEN_SIDES = {"subsample", "xar", "par"}


@given(st.sampled_from(order_names()), SIDES, SIDES)
def test_scan_visits_every_token_once(name: str, height: int, width: int) -> None:
    if name in EVEN_SIDES:
        height, width = 2 * height, 2 * width
    assert sorted(orders.scan(name, height, width).tolist()) == list(range(height * width))


def test_scans_of_a_small_grid_equal_hand_written_ones() -> None:
    assert orders.scan("alternate", 2, 3).tolist() == [0, 1, 2, 5, 4, 3]
    assert orders.scan("zcurve", 4, 4).tolist()[:8] == [0, 1, 4, 5, 2, 3, 6, 7]
    assert orders.scan("spiral_in", 3, 3).tolist() == [0, 3, 6, 7, 8, 5, 2, 1, 4]
    assert orders.scan("spiral_out", 3, 3).tolist() == [4, 1, 2, 5, 8, 7, 6, 3, 0]
    assert orders.scan("subsample", 4, 4).tolist()[:8] == [0, 2, 8, 10, 1, 3, 9, 11]


def test_unknown_scan_and_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match=r"order\.scan must be one of .*; got 'diagonal'"):
        orders.scan("diagonal", 4, 4)
    for name in ("subsample", "xar"):
        with pytest.raises(ValueError, match=f"{name} needs even sides, got a 3 x 4 grid"):
            orders.scan(name, 3, 4)
    with pytest.raises(ValueError, match="2 x 2 regions must divide the grid, got 3 x 4 tokens"):
        orders.scan("par", 3, 4)


def test_par_is_a_rearrangement_and_with_four_regions_the_subsample_scan() -> None:
    grid = torch.arange(16 * 24).view(16, 24)
    for region in (2, 4):
        order = orders.par(16, 24, region)
        regions = rearrange(grid, "(d1 h) (d2 w) -> (h w) (d1 d2)", d1=region, d2=region)
        assert torch.equal(order.view(-1, region**2), regions)
    assert torch.equal(orders.scan("par", 16, 16), orders.scan("subsample", 16, 16))


def test_fractalgen_of_halves_is_the_z_curve_and_sizes_must_nest() -> None:
    assert torch.equal(orders.fractalgen(16, 16, (16, 8, 4, 2, 1)), orders.zcurve(16, 16))
    blocks = rearrange(torch.arange(64).view(8, 8), "(a p) (b q) -> (a b p q)", p=4, q=4)
    assert torch.equal(orders.scan("fractalgen", 8, 8), blocks)
    for sizes in ((3, 1), (4, 2), (2, 4, 1), (0, 1), (4, 0), (2, 1, 1)):
        with pytest.raises(ValueError, match="must each divide the one before"):
            orders.fractalgen(8, 8, sizes)


@pytest.mark.parametrize("bits", range(1, 6))
def test_hilbert_is_the_curve_of_the_bitwise_formula(bits: int) -> None:
    side = 2**bits
    places = torch.zeros(side, side, dtype=torch.long)
    for distance in range(side**2):
        x = y = 0
        rest, size = distance, 1
        while size < side:  # quadrant by quadrant, from the smallest
            right = 1 & (rest // 2)
            down = 1 & (rest ^ right)
            if not down:
                x, y = (size - 1 - y, size - 1 - x) if right else (y, x)
            x, y = x + size * right, y + size * down
            rest, size = rest // 4, 2 * size
        places[distance // side, distance % side] = y * side + x
    expected = places.reshape(-1)
    transposed = expected % side * side + expected // side
    ours = orders.hilbert(side, side)
    assert torch.equal(ours, expected) or torch.equal(ours, transposed)


@given(st.integers(1, 24), st.integers(1, 24))
@settings(max_examples=50)
def test_hilbert_goes_to_neighbours(height: int, width: int) -> None:
    order = orders.hilbert(height, width)
    steps = torch.stack((order // width, order % width)).diff(dim=1).abs()
    assert (steps.amax(0) == 1).all()
    diagonal = steps.sum(0) == 2
    assert diagonal.sum() <= (0 if height % 2 == width % 2 == 0 else 1)


def test_cells_are_contiguous_blocks() -> None:
    order = orders.cells(4, 4, 2)
    assert order.tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    with pytest.raises(ValueError, match="cells_per_side must divide the grid"):
        orders.cells(4, 6, 4)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_random_ratio_is_one_then_linear_then_zero(progress: float, a: float, b: float) -> None:
    start, end = min(a, b), max(a, b)
    ratio = orders.random_ratio(progress, start, end)
    if progress < start:
        assert ratio == 1
    elif progress >= end:
        assert ratio == 0
    else:
        assert math.isclose(ratio, (end - progress) / (end - start), abs_tol=1e-6)


def test_annealed_orders_are_scan_or_permutation() -> None:
    random = torch.Generator().manual_seed(0)
    target = orders.scan("spiral_in", 3, 3)
    assert orders.annealed_orders(3, target, 0.0, random).tolist() == [target.tolist()] * 3
    drawn = orders.annealed_orders(400, target, 0.25, random)
    assert torch.equal(drawn.sort(1).values, torch.arange(9).expand(400, 9))
    assert 60 < (drawn != target).any(1).sum() < 140  # binomial(400, 1/4) within 4.6 deviations


@given(st.integers(1, 64), st.integers(1, 64))
def test_hidden_counts_fall_to_zero(tokens: int, iterations: int) -> None:
    if iterations > tokens:
        with pytest.raises(ValueError, match="num_iter"):
            orders.hidden_counts(tokens, iterations)
        return
    counts = [tokens, *orders.hidden_counts(tokens, iterations)]
    assert counts[-1] == 0 and len(counts) == iterations + 1
    assert all(after < before for before, after in zip(counts, counts[1:], strict=False))


def test_one_token_an_iteration_when_iterations_equal_tokens() -> None:
    assert orders.hidden_counts(256, 256) == list(range(255, -1, -1))


def test_block_causal_lets_cells_see_themselves_and_the_past() -> None:
    attend = orders.block_causal(3, 2)
    expected = torch.kron(torch.ones(3, 3).tril(), torch.ones(2, 2)).bool()
    assert torch.equal(attend, expected)
