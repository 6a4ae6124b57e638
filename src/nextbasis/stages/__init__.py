"""Start a stage from the command line: help, config, threads, and errors a user can act on."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from nextbasis.config import SCHEMAS, SECTIONS, StageConfig, choices, compose
from nextbasis.support import processes
from nextbasis.support.endings import in_one_line

NOT_DETERMINISTIC = "deterministic"  # in what torch says of an algorithm that is refused


def run(stage: str, main: Callable[[Any], None], doc: str | None) -> None:
    """Compose the config from the command line's overrides and run `main` with it.

    Exits with status 1 and one line when the input is bad or the disk full; bugs are traced.
    """
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        print(_help(stage, doc or ""))
        return
    # The shell that starts a stage may ignore SIGTERM; a stage answers it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with in_one_line(), processes.joined():
        config = compose(stage, arguments)
        prepare(config)
        try:
            main(config)
        except RuntimeError as error:
            if NOT_DETERMINISTIC not in str(error):
                raise
            raise ValueError(
                f"{str(error).split('. ')[0]}; reproducible=false lets stage {stage} use what "
                "gives other last digits each time"
            ) from error


def prepare(config: StageConfig) -> None:
    """Use the threads of OMP_NUM_THREADS, one if it is not set, and the config's algorithms."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    choose_algorithms(config.reproducible)


def choose_algorithms(reproducible: bool) -> None:
    """Use deterministic algorithms alone, or whatever is fastest on a GPU.

    A CPU's are deterministic either way. float32 has all its bits in both: where ten are enough,
    a config says precision=bfloat16.
    """
    # Without it cuBLAS refuses matrix products while algorithms must be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # use_deterministic_algorithms would import the compiler: a second or two that no stage needs
    # but those whose optimiser or torchvision does so anyway.
    torch.set_deterministic_debug_mode("error" if reproducible else "default")
    # Off because it costs time and only hides reads of memory that nobody wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not reproducible
    torch.backends.cudnn.allow_tf32 = False  # torch's default for convolutions is TF32: ten bits
    torch.set_float32_matmul_precision("highest")


def check_trained(path: Path, trained: Mapping[str, Any]) -> None:
    """Nothing if a model's config, read from `path`, says which tokens and captions it is of.

    Raises: ValueError naming the file of one that was imported, and what to add to it.
    """
    places = {"tokens": "tokenizer", "captions": "text"}
    if lacking := [name for name in places if name not in trained]:
        raise ValueError(
            f"{path} has no {' and no '.join(lacking)}, as "
            f"of a model that was imported and not trained here: add to it "
            + " and ".join(
                f'"{name}": the name of a folder in {path.parents[2] / places[name]}'
                for name in lacking
            )
        )


def _help(stage: str, doc: str) -> str:
    lines = [doc.strip(), "", f"usage: python -m nextbasis.stages.{stage} KEY=VALUE …", ""]
    for name in SCHEMAS[stage].__dataclass_fields__:
        if name in SECTIONS:
            lines.append(f"  {name}=…  one of: {', '.join(choices(name))}; then {name}.KEY=VALUE")
        else:
            lines.append(f"  {name}=…")
    lines += ["", f"docs/reference/configuration.md: every key. Example: dvc.yaml, stage {stage}."]
    return "\n".join(lines)
