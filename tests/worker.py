"""What each of several processes does in tests of parallel stages: torchrun … worker.py WHAT…."""

import os
import pickle
import signal
import sys
from contextlib import suppress
from pathlib import Path

import torch

from nextbasis.data.tokens import TokenCache
from nextbasis.scoring.extractor import load_extractor
from nextbasis.scoring.features import stream
from nextbasis.stages import sample, score, train
from nextbasis.support import processes
from nextbasis.support.files import result_folder
from nextbasis.training import parallel
from nextbasis.training.trainer import Trainer
from scoring import pictures


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """What the optimiser saw in the last step, whole."""
    named = dict(trainer.generator.named_parameters())
    return {name: parallel.whole(p.grad) for name, p in named.items() if p.grad is not None}


def one_step() -> None:
    """Write gradients and A after one step of several trainings; every process writes its A."""
    for each in config:
        trainer = Trainer(each, TokenCache(result_folder("test", "tokens", each.tokens)))
        trainer.advance()
        trainer.read()
        found = gradients(trainer)
        if processes.rank() == 0:
            torch.save({"gradients": found, "values": trainer.values}, f"step-{each.key}.pt")
        torch.save(trainer.learned_basis(), f"basis-{each.key}-{processes.rank()}.pt")


def stopped() -> None:
    """Train each until SIGTERM reaches the last process alone, in the middle of its fifth step."""
    advance = Trainer.advance

    def told(trainer: Trainer) -> None:
        if trainer.step == 4 and processes.rank() == processes.count() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        advance(trainer)

    Trainer.advance = told  # type: ignore[method-assign]
    for each in config[:-1]:
        with suppress(SystemExit):
            train.main(each)
    train.main(config[-1])


def whole_training() -> None:
    """Train each to the end."""
    for each in config:
        train.main(each)


def sampling() -> None:
    """Sample."""
    sample.main(config)


def scoring() -> None:
    """Score."""
    score.main(config)


def broken_features() -> None:
    """Extract features in batches of 64 while those of one image of the last process are broken."""
    extractor = load_extractor(config.evaluation, torch.device("cpu"))
    features = extractor.features

    def broken(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled, logits = features(images)
        if processes.rank() == processes.count() - 1:
            pooled[3, 5] = torch.nan
        return pooled, logits

    extractor.features = broken  # type: ignore[method-assign]
    for _ in stream(pictures(256, seed=0), extractor, 64, "broken"):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    config = pickle.loads(Path("config.pickle").read_bytes())
    with processes.joined():
        for what in sys.argv[1:]:
            globals()[what]()
