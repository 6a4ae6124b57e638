import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nextbasis import orders

SIDES = st.integers(1, 6)


@given(st.sampled_from(sorted(set(orders.SCANS) - {"subsample"})), SIDES, SIDES)
def test_scan_visits_every_token_once(name: str, height: int, width: int) -> None:
    assert sorted(orders.scan(name, height, width).tolist()) == list(range(height * width))


def test_scans_of_a_small_grid_equal_hand_written_ones() -> None:
    assert orders.scan("alternate", 2, 3).tolist() == [0, 1, 2, 5, 4, 3]
    assert orders.scan("zcurve", 4, 4).tolist()[:8] == [0, 1, 4, 5, 2, 3, 6, 7]
    assert orders.scan("spiral_in", 3, 3).tolist() == [0, 3, 6, 7, 8, 5, 2, 1, 4]
    assert orders.scan("spiral_out", 3, 3).tolist() == [4, 1, 2, 5, 8, 7, 6, 3, 0]
    assert orders.scan("subsample", 4, 4).tolist()[:8] == [0, 2, 8, 10, 1, 3, 9, 11]


def test_unknown_scan_and_odd_subsample_are_refused() -> None:
    with pytest.raises(ValueError, match=r"order\.scan must be one of .*; got 'diagonal'"):
        orders.scan("diagonal", 4, 4)
    with pytest.raises(ValueError, match="even sides, got a 3 x 4 grid"):
        orders.scan("subsample", 3, 4)


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
