"""A small set of cached tokens, as stage tokens leaves it."""

import json
from pathlib import Path

import numpy as np

from nextbasis.files import sha256


def write_tokens(discrete: bool) -> None:
    """Random tokens of 40 images in 5 classes on a grid of 4 x 4: ids, or 3 numbers each."""
    folder = Path("results/test/tokens/tokens")
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    tokens = random.normal(size=(40, 2, 16, 3)).astype(np.float32)
    if discrete:
        tokens = random.integers(11, size=(40, 2, 16)).astype(np.int32)
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "labels.npy", np.arange(40) % 5)
    index = {
        "kind": "vq" if discrete else "kl",
        "grid": [4, 4],
        "channels": 3,
        "codebook_size": 11 if discrete else 0,
        "num_classes": 5,
        "num_views": 2,
        "posterior": False,
        "scale": [1.0] * 3,
        "mean": [0.0] * 3,
        "tokens_sha256": sha256(folder / "tokens.npy"),
        "tokenizer_sha256": "0",
    }
    (folder / "index.json").write_text(json.dumps(index))
