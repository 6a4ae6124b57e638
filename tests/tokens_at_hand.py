"""A small set of cached tokens, as stage tokens leaves it."""

from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from builders import codes, token_spec, write_cache
from nextbasis.data.layout import TokenLayout
from nextbasis.data.tokens import CODES
from nextbasis.families import find
from nextbasis.support.files import write_json


def write_tokens(discrete: bool) -> None:
    """Random tokens of 40 images in 5 classes on a grid of 4 x 4: ids, or 3 numbers each."""
    random = np.random.default_rng(0)
    tokens = random.normal(size=(40, 2, 16, 3)).astype(np.float32)
    layout = TokenLayout.of_grid((4, 4), channels=3)
    if discrete:
        tokens = random.integers(11, size=(40, 2, 16)).astype(np.int32)
        layout = TokenLayout.of_grid((4, 4), codebook_size=11)
    write_json(Path("results/test/text/classes/index.json"), {"kind": "classes"})
    write_cache(Path("results/test/tokens/tokens"), tokens, np.arange(40) % 5, layout, 15)


def write_tokens_of(family: str) -> None:
    """Random tokens that a family models; of several levels with their codes."""
    spec, folder = token_spec(family), Path("results/test/tokens/tokens")
    write_tokens(not find(family).has_basis)
    if len(spec.levels) == 1:
        return
    random = np.random.default_rng(0)
    ids = random.integers(spec.size, size=(40, 2, spec.num_tokens)).astype(np.int32)
    layout = TokenLayout(kind=spec.kind, levels=spec.levels, sizes=spec.sizes)
    write_cache(folder, ids, np.arange(40) % 5, layout, 15)
    save_file(codes(spec), folder / CODES)
