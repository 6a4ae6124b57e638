"""Small tokenizers and a toy dataset for their stages."""

from pathlib import Path

import numpy as np
import pytest
import torch

import builders
from nextbasis.config import (
    BasisConfig,
    DatasetConfig,
    SourceConfig,
    TokenizerConfig,
    TokenizerStage,
    TokensStage,
    section,
)
from nextbasis.stages import tokenizer
from nextbasis.support.files import sha256, write_json

SIZE, COUNT = 8, 48


def token_config(kind: str = "vq", **changes: object) -> TokenizerConfig:
    values: dict = {"kind": kind, "encode_batch_size": 20, "downsample": 4, "latent_channels": 3}
    if kind in ("kl", "vq"):
        values |= {"width": 4, "steps": 6, "batch_size": 8, "lr": 1e-3}
    if kind == "kl":
        values |= {"noise": 0.1, "penalty": 0.1}
    if kind == "vq":
        values |= {"codebook_size": 7, "commitment": 0.1, "codebook_decay": 0.9}
    return section("tokenizer", values | changes)


def basis_config(init: str, **changes: object) -> BasisConfig:
    return builders.basis_config(init=init, **changes)


KL = token_config("kl")
PATCHES = token_config("patches", downsample=2, latent_channels=4)
DATASET = DatasetConfig(
    name="toy",
    image_size=8,
    channels=1,
    num_classes=3,
    num_test=9,
    sources=[SourceConfig(kind="local", location="here")],
    checksums={},
)


def some_images(count: int = COUNT) -> np.ndarray:
    """Smooth random images: blocks of 2x2 equal pixels."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8).repeat(2, 1).repeat(2, 2)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder with results/toy/dataset, and it is the current one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/toy/dataset"
    folder.mkdir(parents=True)
    arrays = {
        "train_images": some_images(),
        "train_labels": np.arange(COUNT) % 3,
        "test_images": some_images(9),
        "test_labels": np.arange(9) % 3,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    index = {"name": "toy", "image_size": SIZE, "channels": 1, "num_classes": 3}
    index |= {"num_train": COUNT, "num_test": 9}
    index["sha256"] = {f"{name}.npy": sha256(folder / f"{name}.npy") for name in arrays}
    write_json(folder / "index.json", index)
    return tmp_path


def pixels(count: int = COUNT) -> torch.Tensor:
    return torch.from_numpy(some_images(count)).permute(0, 3, 1, 2) / 127.5 - 1


def tokens_stage(shard_images: int = 20) -> TokensStage:
    """Three shards, the last of them of eight images."""
    return TokensStage(
        reproducible=True,
        scale="toy",
        key="a",
        dataset=DATASET,
        views="flip",
        shard_images=shard_images,
    )


def run_tokenizer(key: str, config: TokenizerConfig, seed: int = 0) -> Path:
    tokenizer.main(
        TokenizerStage(reproducible=True, scale="toy", key=key, seed=seed, tokenizer=config)
    )
    return Path("results/toy/tokenizer") / key
