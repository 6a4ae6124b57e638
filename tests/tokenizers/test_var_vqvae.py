"""VAR's VQ-VAE as a tokenizer: the official file and outputs, its levels, what VAR is fed."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fixtures_at_hand import fixture_path
from networks import SMALL_CONFIGS, SMALL_VAR, VAR
from nextbasis.data.pyramid import KnownPyramid
from nextbasis.official.sizes import Votes
from nextbasis.parity.fixture import open_fixture
from nextbasis.tokenizers.common.loading import build
from nextbasis.tokenizers.common.pretrained import read_weights
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from nextbasis.tokenizers.var_vqvae import official, parity
from nextbasis.tokenizers.var_vqvae.config import VARVQVAEConfig
from nextbasis.tokenizers.var_vqvae.model import VARVQVAE, Attention

SIZE = 24  # pixels a side of the small network's images


def small(network: VARVQVAEConfig = SMALL_VAR, size: int = SIZE) -> Tokenizer:
    torch.manual_seed(0)
    config = replace(SMALL_CONFIGS["var_vqvae"], network=network)
    return build(config, size, 3).eval().requires_grad_(False)


def pictures() -> Tensor:
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_official_file_gives_the_official_ids_and_images() -> None:
    fixture = open_fixture(fixture_path("var_vqvae_open.safetensors"))
    config = replace(VAR, network=parity.config_of(fixture.value("config")))
    config.weights = str(fixture_path("ckpt/var_vqvae_open/vae_ch32v40z8.pth"))
    made = build(config, 16, 3).eval()
    made.get_submodule("network").load_state_dict(read_weights(config)[0])
    assert torch.equal(made.encode(fixture["in.images"]), fixture["out.indices"])
    again = made.decode(fixture["in.codes"])
    torch.testing.assert_close(again, fixture["out.decoded_from_codes"], rtol=0, atol=1e-4)
    known = KnownPyramid(made.layout.levels, made.codes())
    wanted = fixture["out.next_inputs_from_codes"]
    torch.testing.assert_close(known.inputs(fixture["in.codes"]), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_phis", [0, 1, 2, 4])
def test_what_ids_stand_for_makes_the_same_images(num_phis: int) -> None:
    made = small(replace(SMALL_VAR, num_phis=num_phis))
    ids = made.encode(pictures())
    assert made.layout.levels == tuple((side, side) for side in SMALL_VAR.levels)
    known, network = KnownPyramid(made.layout.levels, made.codes()), made.get_submodule("network")
    assert isinstance(network, VARVQVAE)
    again = network.images(known.maps(ids)[-1]).clamp(-1, 1)
    torch.testing.assert_close(made.decode(ids), again)


def test_attention_equals_explicit_softmax_over_positions() -> None:
    torch.manual_seed(0)
    part, x = Attention(32).requires_grad_(False), torch.randn(2, 32, 3, 5)
    q, k, v = part.qkv(F.group_norm(x, 32, eps=1e-6)).flatten(2).split(32, 1)
    weights = (torch.einsum("bdq,bdk->bqk", q, k) / 32**0.5).softmax(2)
    mixed = torch.einsum("bqk,bdk->bdq", weights, v).view_as(x)
    torch.testing.assert_close(part(x), x + part.proj_out(mixed))


@pytest.mark.parametrize("size", [28, 8])
def test_levels_must_end_with_the_grid_of_the_images(size: int) -> None:
    with pytest.raises(ValueError, match=r"network.levels must end with \d, .* \[1, 2, 3, 6\]"):
        small(size=size)


@pytest.mark.parametrize("num_phis", [0, 1, 2, 4])
def test_the_file_tells_how_many_convolutions_levels_share(num_phis: int) -> None:
    network = replace(SMALL_VAR, num_phis=num_phis)
    assert official.sizes(votes(network, levels=SMALL_VAR.levels))["num_phis"] == num_phis


def test_sides_of_levels_are_asked_for_where_there_are_others() -> None:
    for given in ({}, {"levels": [1, 2, 6]}):
        with pytest.raises(ValueError, match=r"counts hits of 4 levels, .* give levels=\[…\] of 4"):
            official.sizes(votes(SMALL_VAR, **given))
    assert "levels" not in official.sizes(votes(VAR.network))


def votes(network: VARVQVAEConfig, **given: Any) -> Votes:
    with torch.device("meta"):
        state = VARVQVAE(network).state_dict()
    return Votes("var_vqvae", {name: tuple(part.shape) for name, part in state.items()}, given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": [2, 1]}, r"tokenizer.network.levels must be sides of grids, .* got \[2, 1\]"),
        ({"codebook_size": 0}, "tokenizer.network.codebook_size must be above 0, got 0"),
        ({"blend": 1.5}, "tokenizer.network.blend must be at most 1, got 1.5"),
        ({"num_phis": -1}, "tokenizer.network.num_phis must be at least 0 .* got -1"),
        ({"commitment": -1.0}, "tokenizer.network.commitment must not be negative, got -1.0"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL_VAR, **changes)
