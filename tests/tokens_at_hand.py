"""A small set of cached tokens, as stage tokens leaves it."""

from pathlib import Path

import numpy as np

from builders import write_cache
from nextbasis.data.layout import TokenLayout
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
