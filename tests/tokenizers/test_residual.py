"""The multi-scale residual quantiser, against PyTorch's interpolation and convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nextbasis.data.pyramid import KnownPyramid
from nextbasis.tokenizers.common.residual import ResidualQuantiser, shared_phi

LEVELS = ((1, 1), (2, 2), (3, 3), (4, 4))
CODES, CHANNELS, BLEND = 9, 3, 0.5
# Of the official code, by number of levels and convolutions.
SHARED = {
    (4, 4): "0123",
    (5, 4): "01223",
    (6, 4): "001233",
    (8, 4): "00112233",
    (10, 4): "0011122333",
    (14, 4): "00011112222333",
    (5, 2): "00011",
    (3, 1): "000",
}


def quantiser(num_phis: int = 4) -> ResidualQuantiser:
    torch.manual_seed(0)
    made = ResidualQuantiser(LEVELS, CODES, CHANNELS, num_phis, BLEND)
    nn.init.normal_(made.embedding.weight)
    return made


def latents() -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(2, CHANNELS, *LEVELS[-1], generator=random)


def convolutions(made: ResidualQuantiser) -> list[nn.Conv2d]:
    return [part for part in made.modules() if isinstance(part, nn.Conv2d)]


@pytest.mark.parametrize("count, num_phis", SHARED)
def test_levels_share_convolutions_as_officially(count: int, num_phis: int) -> None:
    found = [shared_phi(level, count, num_phis) for level in range(count)]
    assert "".join(map(str, found)) == SHARED[count, num_phis]


def test_each_level_takes_the_codes_nearest_to_what_is_left_over() -> None:
    made, rest = quantiser(), latents()
    found, start = made.quantise(latents()), 0
    total = torch.zeros_like(rest)
    for level, (side, _) in enumerate(LEVELS):
        vectors = F.interpolate(rest, side, mode="area").flatten(2).mT
        part = slice(start, start + side**2)
        torch.testing.assert_close(found.vectors[:, part], vectors)
        ids = torch.cdist(vectors, made.codebook.expand(2, -1, -1)).argmin(2)
        assert torch.equal(found.ids[:, part], ids)
        codes = made.codebook[ids].mT.unflatten(2, (side, side))
        codes = F.interpolate(codes, LEVELS[-1], mode="bicubic")
        phi = convolutions(made)[level]
        convolved = F.conv2d(codes, phi.weight, phi.bias, padding=1)
        added = (1 - BLEND) * codes + BLEND * convolved
        total, rest, start = total + added, rest - added, start + side**2
        torch.testing.assert_close(found.maps[level], total)


@pytest.mark.parametrize("num_phis", [0, 1, 2, 4])
def test_what_it_tells_makes_the_same_maps(num_phis: int) -> None:
    made = quantiser(num_phis)
    found = made.quantise(latents())
    known = KnownPyramid(LEVELS, made.tensors())
    torch.testing.assert_close(known.maps(found.ids), found.maps)


def test_the_loss_pulls_codes_to_latents_and_latents_to_codes() -> None:
    """Gradients of codes are those of the mean squared errors, of latents `commitment` of them."""
    made, x = quantiser(), latents().requires_grad_()
    maps = made.quantise(x).maps
    made.loss(x, maps, commitment=0.25).backward()
    codes = made.embedding.weight.grad
    with torch.no_grad():
        error = (x - maps).mean(0) * 2 / maps[0].numel()
    torch.testing.assert_close(x.grad, 0.25 * error)
    made.zero_grad()
    maps = made.quantise(x).maps
    sum(F.mse_loss(part, x.detach()) for part in maps).div(len(maps)).backward()
    torch.testing.assert_close(codes, made.embedding.weight.grad)
    assert codes.abs().sum() > 0
