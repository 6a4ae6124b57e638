"""Every kind of write of the package, tried where there is no room.

`python tests/full_disk.py FOLDER`: the folder must be empty and take less than SIZE bytes. Prints,
as JSON, what became of each write.
"""

import json
import shutil
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from builders import (
    basis_config,
    generator,
    model_config,
    token_spec,
    train_config,
    train_stage,
)
from nextbasis.data.arrays import create, write_rows
from nextbasis.data.pictures import save_grid
from nextbasis.data.sheets import save_sheet
from nextbasis.families.common.checkpoint import Resumable, save_generator
from nextbasis.stages.train import write_curve
from nextbasis.support.files import staged_folder, write_atomic, write_json, write_text

SIZE = 1 << 18  # bytes of what is written, at least
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 1), dtype=np.uint8)
LARGE = {"encoder_width": 64, "decoder_width": 64, "head_width": 128}


class Outcome(NamedTuple):
    """What one write left behind."""

    error: str  # its type
    message: str
    files: list[str]  # in the folder, with their sizes


def curve(path: Path) -> None:
    write_curve(path, [{"step": step, "loss": 1 / (step + 1)} for step in range(20_000)])


def rows(path: Path) -> None:
    write_rows(path, iter(NOISE), NOISE.shape, np.uint8, "rows")


def tokens(path: Path) -> None:
    create(path, (SIZE,), np.float32)[:] = 1


def state(path: Path) -> None:
    Resumable(path.parent).save({"weights": torch.zeros(SIZE)})


def model(path: Path) -> None:
    made = generator("mar", **LARGE)
    config = train_stage(
        model_config("mar", **LARGE), basis_config(), train_config(steps=1, batch_size=1, lr=1e-3)
    )
    save_generator(path.parent, made, deepcopy(made), config, token_spec("mar"))


Write = Callable[[Path], object]
ALONE: dict[str, Write] = {
    "table.md": lambda path: write_text(path, "x" * SIZE),
    "metrics.json": lambda path: write_json(path, ["x" * SIZE]),
    "grid.png": lambda path: save_grid(NOISE, path, 8),
    "sheet.png": lambda path: save_sheet(NOISE, ["caption"] * 64, 8, "title", path),
    "tokens.npy": lambda path: write_atomic(path, tokens),
    "scratch.npy": tokens,
    "samples.npz": lambda path: write_atomic(path, lambda out: np.savez(out, arr_0=NOISE)),
    "state.pt": state,
}
IN_A_STAGE: dict[str, Write] = {  # whose folder appears when it is complete
    "curve.csv": curve,
    "images.npy": rows,
    "samples.npy": lambda path: np.save(path, NOISE),
    "statistics.npz": lambda path: np.savez(path, mu=NOISE),
    "model.safetensors": model,
}
WRITES = (*ALONE, *IN_A_STAGE)


def write(name: str, folder: Path) -> Path:
    """Try one write; the file or folder that should appear."""
    if name in ALONE:
        ALONE[name](folder / name)
        return folder / name
    with staged_folder(folder / "stage") as staged:
        (staged / "labels.npy").write_bytes(b"small")
        IN_A_STAGE[name](staged / name)
    return folder / "stage"


def outcome(name: str, folder: Path) -> Outcome:
    """Try one write in an empty folder."""
    error: BaseException | None = None
    try:
        write(name, folder)
    except Exception as caught:
        error = caught
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [f"{path.relative_to(folder)} {path.stat().st_size}" for path in found]
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Outcome(type(error).__name__, str(error), files)


if __name__ == "__main__":
    print(json.dumps({name: outcome(name, Path(sys.argv[1])) for name in WRITES}))
