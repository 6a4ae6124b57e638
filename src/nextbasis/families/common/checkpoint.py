"""Trained models on disk, and the state that lets a killed training go on."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nextbasis.config import as_dict, section
from nextbasis.families.common.generator import Generator, build
from nextbasis.families.common.spec import TokenSpec
from nextbasis.support.files import read_record, write_atomic, write_json
from nextbasis.support.weights import put_weights
from nextbasis.support.words import listed

MODEL, CONFIG = "model.safetensors", "config.json"


def save_generator(
    folder: Path, raw: Generator, ema: Generator, config: Any, spec: TokenSpec
) -> None:
    """Write raw and EMA weights, the host's token order, A and the config.

    Keys are `raw.…` and `ema.…`; `basis` is the averaged A (m, n), whatever parametrises it.
    """
    tensors = {f"raw.{name}": tensor for name, tensor in raw.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in ema.state_dict().items()}
    tensors["host_order"] = raw.host_order
    if ema.basis is not None:
        tensors["basis"] = ema.basis.matrix().clone()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(folder / MODEL, lambda path: save_file(tensors, path))
    write_json(folder / CONFIG, as_dict(config) | {"spec": spec.as_dict()})


def load_generator(folder: Path, weights: str = "ema") -> tuple[Generator, dict[str, Any]]:
    """A trained generator and the config it was trained with.

    Raises: FileNotFoundError or ValueError naming the file and what to do.
    """
    path = folder / MODEL
    if not path.is_file():
        raise FileNotFoundError(f"no trained model {path}; make it with the train stage")
    config = read_record(folder / CONFIG, ("spec", "model", "basis", "order"))
    spec = TokenSpec.of(config["spec"])
    parts = {name: section(name, config[name]) for name in ("model", "basis", "order")}
    generator = build(**parts, spec=spec)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is corrupt ({error}); delete it and train again") from error
    prefix = f"{weights}."
    state = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    try:
        put_weights(generator, state)
    except ValueError as error:
        raise ValueError(f"{path} does not fit its {CONFIG}: {error}") from error
    return generator.eval(), config


class Resumable:
    """The states of one training in a scratch folder; the last two survive a kill."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, whose name must change with everything the training depends on."""
        self.folder, self.path = folder, folder / "state.pt"
        self.before = folder / "before.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Add a state atomically and forget all but the one before it."""

        def write(path: Path) -> None:
            with path.open("wb") as stream:  # torch tells of a full disk by way of a stream only
                torch.save(state, stream)
            if self.path.exists():
                os.replace(self.path, self.before)

        write_atomic(self.path, write)

    def load(self) -> dict[str, Any] | None:
        """The last state, the one before if that cannot be read, or None if there is none.

        Raises: ValueError naming the files if none of those there can be read.
        """
        errors = []
        for path in (self.path, self.before):
            if not path.exists():
                continue
            try:
                return torch.load(path, weights_only=True, map_location="cpu")
            except Exception as error:  # torch.load raises what the broken bytes lead to
                errors.append(f"{path} is corrupt ({error})")
                print(f"{errors[-1]}; looking for the state before it", flush=True)
        if errors:
            raise ValueError(f"{listed(errors, '; ')}; delete {self.folder} to start over")
        return None

    def delete(self) -> None:
        """Forget the states: the training is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
