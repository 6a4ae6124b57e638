"""Tokenizers on a pretend GPU against the CPU: trained, measured, encoding, decoding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from networks import SMALL_CONFIGS
from nextbasis.config import RebaseStage
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import rebase, tokens
from nextbasis.tokenizers.common.loading import build
from pretend_gpu import DEVICE, CudaTensor, pretend_gpu
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

CONFIGS = {"patches": PATCHES, "kl": KL, "vq": token_config("vq")}


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
    kind: str, deterministic: bool, workspace: Path
) -> None:
    weights, encoded = made(kind)
    with pretend_gpu(deterministic):
        their_weights, their_encoded = made(kind)
    assert weights.keys() == their_weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(their_weights[name], value, rtol=1e-4, atol=1e-5)
    if encoded.dtype.kind == "f":
        np.testing.assert_allclose(their_encoded, encoded, rtol=1e-3, atol=1e-4)
    else:
        assert (their_encoded == encoded).mean() > 0.99  # a tie may be broken otherwise


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_published_tokenizers_encode_and_decode_there(name: str) -> None:
    torch.manual_seed(0)
    tokenizer: Any = build(SMALL_CONFIGS[name], 24, 3).eval().requires_grad_(False)
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    encoded = tokenizer.encode(images)
    decoded = tokenizer.decode(encoded)
    with pretend_gpu(deterministic=True):
        there = tokenizer.to(DEVICE)
        their_encoded = there.encode(images.to(DEVICE))
        their_decoded = there.decode(encoded.to(DEVICE))
        assert isinstance(their_encoded, CudaTensor) and isinstance(their_decoded, CudaTensor)
        found = their_encoded.cpu(), their_decoded.cpu()
    torch.testing.assert_close(found[0], encoded)
    torch.testing.assert_close(found[1], decoded, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("init", ["identity", "klt"])
def test_a_rebased_tokenizer_made_there_is_that_of_the_cpu(init: str, workspace: Path) -> None:
    run_tokenizer("vq", token_config("vq"))
    config = RebaseStage(
        reproducible=True, scale="toy", key="b", seed=0, parent="vq", basis=basis_config(init)
    )
    weights = Path("results/toy/tokenizer/b/tokenizer.safetensors")
    rebase.main(config)
    here = load_file(weights)
    with pretend_gpu(deterministic=True):
        rebase.main(config)
    for name, value in load_file(weights).items():
        torch.testing.assert_close(value, here[name], rtol=1e-4, atol=1e-5)
