"""Tokenizers without a network: principal components and typical patches."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from nextbasis.tokenizers.common.loading import build
from nextbasis.tokenizers.common.patches import patchify
from toy_tokenizers import SIZE, token_config

COMPONENTS = 3  # of the four numbers of a patch
PCA_CONFIG = token_config("pca", downsample=2, latent_channels=COMPONENTS)


def pixels(count: int = 48) -> torch.Tensor:
    """Images whose patches vary in every direction."""
    return torch.rand(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def kmeans(size: int, **changes: int):
    return build(
        token_config("kmeans", downsample=2, latent_channels=4, codebook_size=size, **changes),
        SIZE,
        1,
    )


def test_components_are_those_of_scikit_learn():
    images = pixels()
    tokenizer = build(PCA_CONFIG, SIZE, 1)
    tokenizer.fit(images.split(10))
    rows = patchify(images, 2).flatten(0, 1).double().numpy()
    theirs = PCA(COMPONENTS).fit(rows)
    signs = np.sign(theirs.components_[range(3), np.abs(theirs.components_).argmax(1)])
    deviations = theirs.singular_values_ / len(rows) ** 0.5
    tokens = tokenizer.encode(images).flatten(0, 1).numpy()
    np.testing.assert_allclose(tokens, theirs.transform(rows) * signs / deviations, atol=1e-4)
    again = patchify(tokenizer.decode(tokenizer.encode(images)), 2).flatten(0, 1).numpy()
    np.testing.assert_allclose(again, theirs.inverse_transform(theirs.transform(rows)), atol=1e-5)


def test_all_components_lose_nothing():
    tokenizer = build(token_config("pca", downsample=2, latent_channels=4), SIZE, 1)
    tokenizer.fit([pixels()])
    torch.testing.assert_close(tokenizer.decode(tokenizer.encode(pixels())), pixels())


def test_components_that_do_not_vary_are_refused():
    tokenizer = build(PCA_CONFIG, SIZE, 1)
    flat = patchify(pixels(), 2).mean(2).reshape(-1, 1, 4, 4).repeat_interleave(2, 2)
    with pytest.raises(ValueError, match="tokenizer.latent_channels must be at most 1: .* got 3"):
        tokenizer.fit([flat.repeat_interleave(2, 3)])
    with pytest.raises(ValueError, match="tokenizer.latent_channels must be at most 4 .* got 5"):
        build(token_config("pca", downsample=2, latent_channels=5), SIZE, 1)


def test_codes_are_the_means_of_well_separated_patches():
    torch.manual_seed(0)
    centres = torch.tensor([-0.9, -0.3, 0.3, 0.9])
    tall = centres[torch.randint(4, (64, 1, 4, 4))].repeat_interleave(2, 2)
    images = tall.repeat_interleave(2, 3) + 0.01 * torch.randn(64, 1, SIZE, SIZE)
    tokenizer = kmeans(4)
    tokenizer.fit(images.split(32))
    assert len(tokenizer.encode(images).unique()) == 4
    found = tokenizer.codebook.mean(1).sort().values
    torch.testing.assert_close(found, centres, atol=0.02, rtol=0)
    assert (tokenizer.decode(tokenizer.encode(images)) - images).abs().max() < 0.1


def test_ids_are_nearest_codes_and_the_seed_is_that_of_torch():
    first, second, other = kmeans(8), kmeans(8), kmeans(8)
    for seed, tokenizer in ((0, first), (0, second), (1, other)):
        torch.manual_seed(seed)
        tokenizer.fit(pixels().split(20))
    assert torch.equal(first.codebook, second.codebook)
    assert not torch.equal(first.codebook, other.codebook)
    distances = torch.cdist(patchify(pixels(), 2).flatten(0, 1), first.codebook)
    chosen = distances.gather(1, first.encode(pixels()).flatten().unsqueeze(1))
    torch.testing.assert_close(chosen.squeeze(1), distances.min(1).values)


def test_more_codes_than_patches_are_refused():
    tokenizer = kmeans(33)
    with pytest.raises(ValueError, match="tokenizer.codebook_size must be at most the 32 patches"):
        tokenizer.fit(pixels(8).split(2))
    with pytest.raises(ValueError, match="tokenizer.latent_channels must be 4 .* got 3"):
        build(token_config("kmeans", downsample=2, latent_channels=3, codebook_size=4), SIZE, 1)
