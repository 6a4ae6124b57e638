"""Parity on a pretend GPU: every output of the official models is reached there too."""

import pytest

from fixtures_at_hand import fixture_path
from nextbasis.parity import compare_fixture, table
from nextbasis.parity.fixture import open_fixture
from pretend_gpu import CudaTensor, pretend_gpu


@pytest.mark.parametrize("name", ["mar", "xar", "rar", "kl16", "vqgan"])
def test_every_output_is_the_official_one_there(name: str) -> None:
    with pretend_gpu(deterministic=True):
        rows = compare_fixture(fixture_path(f"{name}_open.safetensors"))
    assert not [row for row in rows if not row.passed], table(rows)


@pytest.mark.parametrize("name", ["xar", "vqgan"])
def test_what_is_not_deterministic_may_be_used_where_it_need_not_be(name: str) -> None:
    with pretend_gpu():
        rows = compare_fixture(fixture_path(f"{name}_open.safetensors"))
    assert rows and all(row.passed for row in rows)


def test_inputs_are_there_and_weights_here() -> None:
    with pretend_gpu():
        fixture = open_fixture(fixture_path("kl16_open.safetensors"))
        assert isinstance(fixture["in.images"], CudaTensor)
        weights = fixture.part("weights.").values()
        assert weights and not any(isinstance(tensor, CudaTensor) for tensor in weights)
