"""Build a tokenizer by its kind; write it into a results folder and read it from there."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nextbasis.config import TokenizerConfig, as_dict, section
from nextbasis.support.files import read_record, sha256, write_json
from nextbasis.support.weights import put_weights
from nextbasis.tokenizers.common.codes import VectorTokenizer
from nextbasis.tokenizers.common.rebased import RebasedTokenizer
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from nextbasis.tokenizers.kinds import find

WEIGHTS = "tokenizer.safetensors"


def build(config: TokenizerConfig, image_size: int, image_channels: int) -> Tokenizer:
    """A tokenizer without its weights, for square images.

    Raises: ValueError if the grid or the channels do not fit the image.
    """
    if image_size % config.downsample:
        raise ValueError(
            f"tokenizer.downsample must divide dataset.image_size {image_size}, "
            f"got {config.downsample}"
        )
    kind: type[Tokenizer] = find(config.kind).part("model").TOKENIZER
    return kind(config, image_size, image_channels)


def save_tokenizer(
    tokenizer: Tokenizer, config: TokenizerConfig, image: dict[str, int], folder: Path
) -> dict[str, Any]:
    """Write weights and index.json into `folder`; `image` has size and channels."""
    state = {name: value.cpu().contiguous() for name, value in tokenizer.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    mean, scale = tokenizer.units()
    index = {
        "tokenizer": as_dict(config),
        "rebased": isinstance(tokenizer, RebasedTokenizer),
        "image": image,
        "layout": tokenizer.layout.as_dict(),
        "mean": mean,
        "scale": scale,
        "sha256": sha256(folder / WEIGHTS),
    }
    write_json(folder / "index.json", index)
    return index


def load_tokenizer(folder: Path) -> Tokenizer:
    """The trained tokenizer of a results folder, for inference.

    Raises: FileNotFoundError or ValueError naming the file that is missing or damaged.
    """
    for name in ("index.json", WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no file {folder / name}; run stage tokenizer or rebase")
    index = read_record(folder / "index.json", ("sha256", "tokenizer", "image", "rebased"))
    weights = folder / WEIGHTS
    if (found := sha256(weights)) != index["sha256"]:
        raise ValueError(f"{weights} has SHA-256 {found}, expected {index['sha256']}; rerun it")
    config = section("tokenizer", index["tokenizer"])
    tokenizer = build(config, index["image"]["size"], index["image"]["channels"])
    if index["rebased"]:
        assert isinstance(tokenizer, VectorTokenizer)
        tokenizer = RebasedTokenizer(tokenizer)
    try:
        put_weights(tokenizer, load_file(weights))
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"{weights} does not fit {folder / 'index.json'}: {error}") from error
    return tokenizer.eval().requires_grad_(False)
