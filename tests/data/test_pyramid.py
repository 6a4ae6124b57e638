"""Ids of several levels as maps, against PyTorch's own interpolation and convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nextbasis.data.pyramid import KnownPyramid

LEVELS = ((1, 1), (2, 2), (3, 3), (3, 5), (4, 6))
SIZES = [rows * columns for rows, columns in LEVELS]
CODES, CHANNELS = 7, 3


def tensors() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    count = len(LEVELS)
    shapes = {"codebook": (CODES, CHANNELS), "biases": (count, CHANNELS)}
    shapes |= {"kernels": (count, CHANNELS, CHANNELS, 3, 3)}
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


def ids(batch: int = 2) -> Tensor:
    return torch.randint(CODES, (batch, sum(SIZES)), generator=torch.Generator().manual_seed(1))


def maps(ids: Tensor) -> list[Tensor]:
    """The running sums, by PyTorch's interpolation to the finest grid."""
    told, total, found = tensors(), torch.zeros(len(ids), CHANNELS, *LEVELS[-1]), []
    for level, part in enumerate(ids.split(SIZES, 1)):
        grid = told["codebook"][part].mT.unflatten(2, LEVELS[level])
        grid = F.interpolate(grid, LEVELS[-1], mode="bicubic")
        total = total + F.conv2d(grid, told["kernels"][level], told["biases"][level], padding=1)
        found.append(total)
    return found


def test_maps_are_sums_of_convolved_interpolations() -> None:
    pyramid = KnownPyramid(LEVELS, tensors())
    torch.testing.assert_close(pyramid.maps(ids()), torch.stack(maps(ids())))


def test_inputs_are_area_means_of_the_map_before_each_level() -> None:
    pyramid = KnownPyramid(LEVELS, tensors())
    before = maps(ids())
    means = [
        F.interpolate(x, grid, mode="area").flatten(2).mT
        for x, grid in zip(before, LEVELS[1:], strict=False)
    ]
    torch.testing.assert_close(pyramid.inputs(ids()), torch.cat(means, 1))


def test_what_a_level_is_fed_does_not_depend_on_its_own_ids() -> None:
    pyramid, changed = KnownPyramid(LEVELS, tensors()), ids()
    first = sum(SIZES[:3])
    changed[:, first:] = (changed[:, first:] + 1) % CODES
    fed, other = pyramid.inputs(ids()), pyramid.inputs(changed)
    known = first + SIZES[3] - SIZES[0]  # of the level that changes first, too
    assert torch.equal(fed[:, :known], other[:, :known])
    assert not torch.allclose(fed[:, known:], other[:, known:])


def test_a_pyramid_tells_what_it_was_told() -> None:
    told = KnownPyramid(LEVELS, tensors()).tensors()
    assert all(torch.equal(told[name], tensor) for name, tensor in tensors().items())
    assert not KnownPyramid(LEVELS, told).state_dict()


def test_other_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="are told by codebook, kernels, biases; got nothing"):
        KnownPyramid(LEVELS, {})
    with pytest.raises(ValueError, match=r"biases of 2 levels have shape \(5, 3\)"):
        KnownPyramid(LEVELS[:2], tensors())
