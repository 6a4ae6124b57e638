"""Train one model on cached tokens: results/<scale>/train/<run>.

Resumes by itself from its last state in scratch/ if it was killed, to the same bits on a CPU.
Under torchrun several processes train it, and any number of them can resume it.
"""

import csv
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nextbasis.basis.brought import source_hash
from nextbasis.basis.registry import construction_of
from nextbasis.config import TrainStage
from nextbasis.data.texts import load_texts
from nextbasis.data.tokens import CODES, TokenCache
from nextbasis.families.common.backbone import ReadsCodes
from nextbasis.families.common.checkpoint import Resumable, save_generator
from nextbasis.families.common.generator import Generator
from nextbasis.pipeline.stagelist import code_hash
from nextbasis.stages import run
from nextbasis.support import processes
from nextbasis.support.endings import STOPPED
from nextbasis.support.files import (
    result_folder,
    scratch_folder,
    sha256,
    staged_folder,
    write_json,
)
from nextbasis.support.progress import Progress
from nextbasis.support.provenance import config_hash, record
from nextbasis.training.trainer import Trainer


def fit(trainer: Trainer, resumable: Resumable) -> None:
    """Train to the end, saving a state now and then, and when SIGTERM or Ctrl-C asks to stop.

    Exits with status 143 after SIGTERM, which a scheduler sends that wants the machine back, and
    with 130 after Ctrl-C.
    """
    train = trainer.config.train
    if (state := resumable.load()) is not None:
        trainer.restore(state)
        _say(f"resuming at step {trainer.step} of {train.steps}")
    progress = Progress(train.steps, "steps", f"train {trainer.config.key}", trainer.step)
    trainer.generator.train()
    saved = time.monotonic()
    with told_to_stop() as told:
        while trainer.step < train.steps:
            trainer.advance()
            if trainer.step % train.log_every == 0 or trainer.step == train.steps:
                trainer.log()
            progress.update(1, **({"loss": trainer.loss} if trainer.rows else {}))
            due = time.monotonic() - saved >= 60 * train.checkpoint_minutes
            due, stopping = processes.any_of([due, bool(told)])
            if due or stopping:
                state = trainer.state()
                if processes.rank() == 0:
                    resumable.save(state)
                saved = time.monotonic()
            if stopping:
                _say(f"stopped at step {trainer.step} of {train.steps}; run it again to go on")
                sys.exit(STOPPED + (told or [signal.SIGTERM])[0])
    progress.close()


@contextmanager
def told_to_stop() -> Iterator[list[int]]:
    """The numbers of the signals that came, SIGTERM or SIGINT; a second Ctrl-C ends at once."""
    told: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _: object) -> None:
        told.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number, handler in before.items():
        if number == signal.SIGTERM or handler != signal.SIG_IGN:  # as of jobs in the background
            signal.signal(number, note)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    if processes.rank() == 0:
        print(text, flush=True)


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write rows as CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(config: TrainStage) -> None:
    """Train and write model, config, curves and metrics."""
    cache = TokenCache(result_folder(config.scale, "tokens", config.tokens), config.train.images)
    texts = load_texts(result_folder(config.scale, "text", config.captions))
    source = source_hash(config.basis.init)
    trainer = Trainer(config, cache, texts)
    identity = [
        config_hash(config),
        cache.index["tokens_sha256"],
        code_hash(
            "train",
            family=config.model.family,
            construction=construction_of(config.basis.init),
        ),
        torch.__version__,
    ]
    identity += [texts.index["tokens_sha256"]] if texts is not None else []
    identity += source.values()
    if isinstance(trainer.generator.backbone, ReadsCodes):
        identity.append(sha256(cache.folder / CODES))
    resumable = Resumable(scratch_folder(config.scale, "train", config.key, identity))
    fit(trainer, resumable)
    raw, ema = trainer.models()
    if processes.rank() > 0:
        return
    if ema.basis is not None:
        ema.basis.project_()
    with staged_folder(result_folder(config.scale, "train", config.key)) as folder:
        save_generator(folder, raw, ema, config, trainer.spec)
        write_curve(folder / "metrics.csv", trainer.rows)
        write_json(folder / "metrics.json", record(config) | source | metrics(trainer, ema))
    resumable.delete()


def metrics(trainer: Trainer, ema: Generator) -> dict[str, Any]:
    """Parameter counts, the last losses and the state of A (raw and averaged)."""
    tail = trainer.rows[-max(1, len(trainer.rows) // 10) :]
    result: dict[str, Any] = {
        "parameters": sum(p.numel() for p in trainer.generator.parameters() if p.requires_grad),
        "steps": trainer.step,
        "skipped_steps": trainer.skipped,
        "processes": processes.count(),
        "images_seen": trainer.step * trainer.config.train.batch_size,
        "final_loss": float(np.mean([row["loss"] for row in tail])),
        "dtype": trainer.config.train.precision,
    }
    raw = trainer.generator.basis
    if ema.basis is not None and raw is not None:
        share = raw.diagnostics()["projected_share"]  # the average is projected once, at the end
        result["basis"] = ema.basis.diagnostics() | {"projected_share": share}
    return result


if __name__ == "__main__":
    run("train", main, __doc__)
