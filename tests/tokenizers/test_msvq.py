"""Patches on several grids: ids and images by hand, codes by k-means."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nextbasis.data.pyramid import KnownPyramid
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import tokens
from nextbasis.tokenizers.common.loading import build, load_tokenizer
from nextbasis.tokenizers.common.patches import patchify, unpatchify
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from toy_tokenizers import SIZE, pixels, run_tokenizer, token_config, tokens_stage, workspace

__all__ = ["workspace"]  # a fixture
LEVELS, CODES, BLACK = [1, 2, 4], [3, 4, 9], -0.9


def config(levels: list[int] = LEVELS, codes: list[int] = CODES):
    small = {"downsample": 2, "latent_channels": 4, "black": BLACK}
    return token_config("msvq", **small, levels=levels, level_codes=codes)


def images(count: int = 48) -> Tensor:
    """Images whose patches vary in every direction."""
    return torch.rand(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def fitted(levels: list[int] = LEVELS, codes: list[int] = CODES, seed: int = 0) -> Tokenizer:
    torch.manual_seed(seed)
    made = build(config(levels, codes), SIZE, 1)
    made.fit(images().split(20))
    return made.eval().requires_grad_(False)


def error(made: Tokenizer) -> float:
    return F.mse_loss(made.decode(made.encode(images())), images()).item()


def test_ids_are_nearest_to_what_is_left_over_and_images_are_the_sums() -> None:
    """By brute force in double precision, with PyTorch's own interpolation."""
    made = fitted()
    codebook = made.codes()["codebook"].double()
    rest = patchify(images(), 2).double().mT.unflatten(2, (4, 4))
    whole, ids = torch.zeros_like(rest), made.encode(images())
    assert made.layout.levels == ((1, 1), (2, 2), (4, 4)) and made.layout.sizes == (16,)
    assert ids.shape == (48, *made.layout.shape)
    for side, found in zip(LEVELS, ids.split([1, 4, 16], 1), strict=True):
        vectors = F.interpolate(rest, side, mode="area").flatten(2).mT
        distances = (vectors.unsqueeze(2) - codebook).square().sum(3)
        chosen = distances.gather(2, found.unsqueeze(2)).squeeze(2)
        torch.testing.assert_close(chosen, distances.min(2).values)
        codes = codebook[found].mT.unflatten(2, (side, side))
        added = F.interpolate(codes, (4, 4), mode="bicubic") if side < 4 else codes
        whole, rest = whole + added, rest - added
    again = unpatchify(whole.flatten(2).mT.float(), 2, 4)
    assert (again < BLACK).any()
    torch.testing.assert_close(made.decode(ids), torch.where(again < BLACK, -1, again))


def test_codes_of_a_level_are_the_means_of_well_separated_leftovers() -> None:
    """Of images of two greys: both of them, and nothing."""
    random = torch.Generator().manual_seed(2)
    grey = torch.tensor([-0.5, 0.5])[torch.randint(2, (60, 1, 1, 1), generator=random)]
    pictures = grey.repeat(1, 1, SIZE, SIZE)
    torch.manual_seed(0)
    made = build(config([1, 4], [2, 1]), SIZE, 1)
    made.fit(pictures.split(30))
    codes = made.codes()["codebook"]
    torch.testing.assert_close(codes[:2].mean(1).sort().values, torch.tensor([-0.5, 0.5]))
    torch.testing.assert_close(codes[2], torch.zeros(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(made.decode(made.encode(pictures)), pictures)


def test_the_same_seed_finds_the_same_codes() -> None:
    first, second, other = (fitted(seed=seed).codes() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["codebook"], other["codebook"])


def test_more_levels_and_more_codes_reconstruct_better() -> None:
    errors = [error(fitted([1, 2, 4][-count:], [9] * count)) for count in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    assert error(fitted(codes=[3, 4, 40])) < error(fitted())


def test_what_ids_stand_for_reaches_the_cache(workspace: Path) -> None:
    """The codes kept beside the tokens make the images that the tokenizer decodes."""
    made = load_tokenizer(run_tokenizer("a", config()))
    tokens.main(tokens_stage())
    cache = TokenCache(Path("results/toy/tokens/a"))
    known = KnownPyramid(cache.layout.levels, cache.codes())
    ids = made.encode(pixels())
    rows = np.arange(len(ids))
    assert np.array_equal(cache.tokens.take(rows, 0 * rows), ids)
    again = unpatchify(known.maps(ids)[-1].flatten(2).mT, 2, 4)
    torch.testing.assert_close(made.decode(ids), torch.where(again < BLACK, -1, again))


@pytest.mark.parametrize(
    ("levels", "codes", "message"),
    [
        ([], [], r"tokenizer.levels must be sides of grids, from coarse to fine; got \[\]"),
        ([2, 1, 4], [3, 4, 9], r"tokenizer.levels must be .* got \[2, 1, 4\]"),
        ([0, 4], [3, 4], r"tokenizer.levels must be .* got \[0, 4\]"),
        ([1, 4], [3, 4, 9], r"level_codes must be 2 numbers above 0, one .* got \[3, 4, 9\]"),
        ([1, 4], [0, 9], r"level_codes must be 2 numbers above 0, one .* got \[0, 9\]"),
        ([1, 2], [3, 4], r"tokenizer.levels must end with 4, the side .* got \[1, 2\]"),
    ],
)
def test_impossible_levels_are_refused(levels: list[int], codes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(config(levels, codes), SIZE, 1)


def test_more_codes_than_the_first_batch_has_tokens_are_refused() -> None:
    made = build(config(codes=[2, 9, 9]), SIZE, 1)
    with pytest.raises(ValueError, match=r"tokenizer.level_codes\[1\] must be at most 8, .* got 9"):
        made.fit(images(8).split(2))


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="tokenizer.latent_channels must be 12 .* got 4"):
        build(config(), SIZE, 3)


def test_black_must_be_a_pixel() -> None:
    with pytest.raises(ValueError, match=r"tokenizer.black must lie in \[-1, 1\), got 1.5"):
        replace(config(), black=1.5)
