"""Read weights from a file without running any code that it may hold, and check them by name."""

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

DAMAGED = "is not a complete PyTorch file of tensors; download it again"
SOURCES = ("model_ema", "model")  # sections of a training checkpoint, best first
Shapes = Mapping[str, tuple[int, ...]]


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], str]:
    """The weights of a file, and which they are: model_ema, model or flat.

    A file whose name ends in .safetensors is read as such, any other as PyTorch's.

    Raises: FileNotFoundError; ValueError if the file is damaged, would run code, or holds no
    weights.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    if path.suffix == ".safetensors":
        return _weights(path, _read_safetensors(path))
    try:
        # Official files keep the arguments of their training, a namespace of plain values.
        with (
            warnings.catch_warnings(action="ignore"),  # what torch cannot read, it refuses
            torch.serialization.safe_globals([argparse.Namespace]),
        ):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} {_reason(error)}") from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise ValueError(f"{path} {DAMAGED} ({type(error).__name__} while reading)") from error
    return _weights(path, content)


def check_shapes(found: Shapes, wanted: Shapes) -> None:
    """Nothing if names and shapes are those wanted.

    Raises: ValueError naming every tensor that is missing, unexpected or wrongly shaped.
    """
    missing = [f"missing: {name}" for name in wanted if name not in found]
    unexpected = [f"unexpected: {name}" for name in found if name not in wanted]
    shaped = [
        f"{name} has shape {list(found[name])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    if problems := missing + unexpected + shaped:
        raise ValueError(f"{len(problems)} tensors do not fit: {'; '.join(problems)}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error})") from error


def _reason(error: pickle.UnpicklingError) -> str:
    """What is wrong; torch's own message advises to run the code, so it is not repeated."""
    foreign = re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", str(error))
    if foreign is None:
        return f"{DAMAGED} (UnpicklingError while reading)"
    return (
        f"is refused: it holds an object ({foreign[1]}) that would run code when read; an official "
        "checkpoint holds tensors, numbers and an argparse.Namespace"
    )


def _weights(path: Path, content: Any) -> tuple[dict[str, Tensor], str]:
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}; a checkpoint is a dict with model_ema, "
            "model, or the tensors themselves"
        )
    source = next((name for name in SOURCES if isinstance(content.get(name), dict)), "flat")
    state = content if source == "flat" else content[source]
    others = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        names = f"no tensors: {', '.join(others[:8])}" if others else "nothing"
        raise ValueError(
            f"{path} holds {names}; it needs model_ema, model, or a flat dict of tensors"
        )
    return {str(name): tensor.detach() for name, tensor in state.items()}, source
