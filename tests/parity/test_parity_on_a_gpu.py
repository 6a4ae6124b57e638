"""Parity on a GPU, pretend or real: every output of the official models is reached there too."""

import pytest

from fixtures_at_hand import fixture_path
from gpus import Gpu
from nextbasis.parity import compare_fixture, table
from nextbasis.parity.fixture import open_fixture

NAMES = ["mar", "xar", "rar", "var", "var_saln", "dit", "mdtv2", "kl16", "vqgan", "llamagen_vq"]
NAMES += ["sdvae", "var_vqvae", "sit_repa_sit", "sit_repa_repa"]


@pytest.mark.parametrize("name", NAMES)
def test_every_output_is_the_official_one_there(name: str, gpu: Gpu) -> None:
    path = fixture_path(f"{name}_open.safetensors")
    with gpu(deterministic=True):
        rows = compare_fixture(path)
    assert not [row for row in rows if not row.passed], table(rows)


def test_algorithms_need_not_be_deterministic(gpu: Gpu) -> None:
    path = fixture_path("vqgan_open.safetensors")
    with gpu():
        rows = compare_fixture(path)
    assert rows and all(row.passed for row in rows), table(rows)


def test_inputs_are_there_and_weights_here(gpu: Gpu) -> None:
    path = fixture_path("kl16_open.safetensors")
    with gpu():
        fixture = open_fixture(path)
        assert fixture["in.images"].is_cuda
        weights = fixture.part("weights.").values()
        assert weights and not any(tensor.is_cuda for tensor in weights)
