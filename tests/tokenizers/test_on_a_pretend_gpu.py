"""Tokenizers on a GPU, pretend or real, against the CPU: trained, measured, encoding, decoding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gpus import DEVICE, Gpu
from networks import SMALL_CONFIGS
from nextbasis.config import RebaseStage
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import rebase, tokens
from nextbasis.tokenizers.common.loading import build
from toy_tokenizers import (
    KL,
    PATCHES,
    basis_config,
    run_tokenizer,
    token_config,
    tokens_stage,
    workspace,
)

__all__ = ["workspace"]  # a fixture

CONFIGS = {
    "patches": PATCHES,
    "pca": token_config("pca", latent_channels=3),
    "kmeans": token_config("kmeans", downsample=2, latent_channels=4, codebook_size=7),
    "msvq": token_config(
        "msvq", downsample=2, latent_channels=4, levels=[1, 4, 4], level_codes=[2, 3, 7], black=-0.9
    ),
    "kl": KL,
    "vq": token_config("vq"),
}


def close(there: torch.Tensor, here: torch.Tensor, rounding: float) -> None:
    torch.testing.assert_close(there, here, rtol=rounding * 1e-4, atol=rounding * 1e-5)


def made(kind: str) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """The weights of a trained tokenizer, and the tokens of all images."""
    folder = run_tokenizer("a", CONFIGS[kind])
    tokens.main(tokens_stage())
    cache = TokenCache(Path("results/toy/tokens/a"))
    images = np.arange(len(cache.labels))
    return load_file(folder / "tokenizer.safetensors"), cache.tokens.take(images, 0 * images)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_tokenizer_made_there_is_that_of_the_cpu(
    kind: str, deterministic: bool, workspace: Path, gpu: Gpu
) -> None:
    weights, encoded = made(kind)
    with gpu(deterministic):
        their_weights, their_encoded = made(kind)
    assert weights.keys() == their_weights.keys()
    # AdamW moves what has a gradient of rounding alone by its whole rate, in each of six steps.
    moved = 2 * 6 * 1e-3 if gpu.is_real else 0.0
    for name, value in weights.items():
        torch.testing.assert_close(their_weights[name], value, rtol=1e-4, atol=1e-5 + moved)
    if encoded.dtype.kind == "f":
        close(torch.from_numpy(their_encoded), torch.from_numpy(encoded), 10 * gpu.rounding)
    else:
        assert (their_encoded != encoded).mean() < 0.01 * gpu.rounding  # ties


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_published_tokenizers_encode_and_decode_there(name: str, gpu: Gpu) -> None:
    torch.manual_seed(0)
    tokenizer: Any = build(SMALL_CONFIGS[name], 24, 3).eval().requires_grad_(False)
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    encoded = tokenizer.encode(images)
    decoded = tokenizer.decode(encoded)
    with gpu(deterministic=True):
        there = tokenizer.to(DEVICE)
        their_encoded = there.encode(images.to(DEVICE))
        their_decoded = there.decode(encoded.to(DEVICE))
        assert their_encoded.is_cuda and their_decoded.is_cuda
        found = their_encoded.cpu(), their_decoded.cpu()
    close(found[0], encoded, gpu.rounding)
    close(found[1], decoded, gpu.rounding)


@pytest.mark.parametrize("init", ["identity", "klt"])
def test_a_rebased_tokenizer_made_there_is_that_of_the_cpu(
    init: str, workspace: Path, gpu: Gpu
) -> None:
    run_tokenizer("vq", token_config("vq"))
    config = RebaseStage(
        reproducible=True, scale="toy", key="b", seed=0, parent="vq", basis=basis_config(init)
    )
    weights = Path("results/toy/tokenizer/b/tokenizer.safetensors")
    rebase.main(config)
    here = load_file(weights)
    with gpu(deterministic=True):
        rebase.main(config)
    for name, value in load_file(weights).items():
        close(value, here[name], gpu.rounding)
