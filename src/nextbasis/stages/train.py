"""Train one model on cached tokens: results/<scale>/train/<run>.

Resumes by itself from its last state in scratch/ if it was killed, to the same bits on a CPU.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from nextbasis.backbones.rar import RAR
from nextbasis.backbones.xar import XAR
from nextbasis.basis.start import start
from nextbasis.checkpoint import Resumable, save_generator
from nextbasis.config import TrainStage, config_hash
from nextbasis.data.epochs import Epochs
from nextbasis.data.tokens import TokenCache
from nextbasis.execution import compile_blocks, precision, recompute_blocks
from nextbasis.files import code_hash, result_folder, scratch_folder, staged_folder, write_json
from nextbasis.generator import Generator, TokenSpec, build
from nextbasis.launch import run
from nextbasis.noise import stream_seed
from nextbasis.optimiser import moving_average, optimiser, set_rates
from nextbasis.progress import Progress
from nextbasis.provenance import device, record

BASIS_IMAGES = 10_000  # evenly spaced ones, from which a basis of the tokens is computed


class Trainer:
    """Everything that changes while a model is trained, and one step of it."""

    def __init__(self, config: TrainStage, cache: TokenCache) -> None:
        """Build the model at its start.

        Raises: ValueError naming the key if basis, model and tokens do not fit each other.
        """
        torch.manual_seed(stream_seed("model", config.seed))
        self.config, self.cache, self.device = config, cache, device()
        generator, self.spec = build_at_start(config, cache)
        self.generator = generator.to(self.device)
        self.ema = moving_average(self.generator, config.train.ema_decay)
        if config.train.compile:
            compile_blocks(self.generator.backbone)
        if config.train.recompute:
            recompute_blocks(self.generator.backbone)
        self.optim = optimiser(self.generator, config.train)
        self.random = torch.Generator().manual_seed(stream_seed("training", config.seed))
        seed = stream_seed("epochs", config.seed)
        self.epochs = Epochs(len(cache.labels), config.train.batch_size, seed)
        self.step = 0
        self.rows: list[dict[str, float]] = []  # of the curves
        self.values: list[dict[str, float]] = []  # since the last row
        self.last_basis = self.learned_basis()  # A at the last row

    def batch(self) -> tuple[Tensor, Tensor]:
        """Tokens and labels of the current step, a random view of each image."""
        items = self.epochs.batch(self.step)
        tokens = self.cache.draw(items, self.random)
        labels = torch.from_numpy(np.asarray(self.cache.labels[items]))
        return tokens.to(self.device), labels.to(self.device)

    def advance(self) -> None:
        """One optimiser step; notes what the curves show of it.

        Raises: ValueError if the loss is not finite.
        """
        train = self.config.train
        tokens, labels = self.batch()
        progress = self.step / train.steps
        draws = self.generator.draw(len(labels), progress, self.random)
        with precision(train.precision, self.device):
            loss = self.generator.loss(tokens, labels, draws)
        if not torch.isfinite(loss.value):
            raise ValueError(
                f"the loss of run {self.config.key} is {loss.value.item()} at step {self.step}; "
                f"a smaller train.lr (now {train.lr}) or train.clip (now {train.clip}) may help"
            )
        set_rates(self.optim, train, self.step)
        self.optim.zero_grad(set_to_none=True)
        loss.value.backward()
        if self.generator.basis is not None:
            self.generator.basis.tangent_()
        norm = clip_grad_norm_(self.generator.parameters(), train.clip)
        self.optim.step()
        if self.generator.basis is not None:
            self.generator.basis.project_()
        self.ema.update_parameters(self.generator)
        self.step += 1
        notes = {name: value.item() for name, value in loss.notes.items()}
        self.values.append({"loss": loss.value.item(), "gradient_norm": norm.item()} | notes)

    def log(self) -> None:
        """Add a row to the curves: means since the last row, and the state of A."""
        names = self.values[0]
        means = {name: float(np.mean([row[name] for row in self.values])) for name in names}
        rate = self.optim.param_groups[0]["lr"]
        self.rows.append({"step": self.step} | means | {"lr": rate} | self.basis_state())
        self.values = []

    def learned_basis(self) -> Tensor:
        """A if it is learned, else nothing."""
        basis = self.generator.basis
        if basis is None or not basis.config.learned:
            return torch.empty(0)
        return basis.matrix().detach().clone()

    def basis_state(self) -> dict[str, float]:
        """Diagnostics of A if it is learned; `drift` is its way since the last row."""
        a, basis = self.learned_basis(), self.generator.basis
        if basis is None or not a.numel():
            return {}
        drift = (a - self.last_basis).norm().item()
        self.last_basis = a
        return basis.diagnostics() | {"drift": drift}

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        return {
            "generator": self.generator.state_dict(),
            "ema": self.ema.state_dict(),
            "optim": self.optim.state_dict(),
            "random": self.random.get_state(),
            "dropout": torch.get_rng_state(),
            "step": self.step,
            "rows": self.rows,
            "values": self.values,
            "last_basis": self.last_basis,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.generator.load_state_dict(state["generator"])
        self.ema.load_state_dict(state["ema"])
        self.optim.load_state_dict(state["optim"])
        self.random.set_state(state["random"])
        torch.set_rng_state(state["dropout"])
        self.step, self.rows, self.values = state["step"], state["rows"], state["values"]
        self.last_basis = state["last_basis"].to(self.device)


def build_at_start(config: TrainStage, cache: TokenCache) -> tuple[Generator, TokenSpec]:
    """The untrained generator, A at its configured start, and what it models."""

    def tokens() -> Tensor:
        return cache.expected(every=max(1, len(cache.labels) // BASIS_IMAGES))

    seed = stream_seed("basis", config.seed)
    basis = None if cache.codebook_size else start(config.basis, cache.grid, tokens, seed)
    is_square = basis is None or basis.num_rows == basis.num_tokens
    spec = TokenSpec(
        grid=cache.grid,
        channels=cache.channels,
        codebook_size=cache.codebook_size,
        num_classes=cache.num_classes,
        num_rows=0 if basis is None or is_square else basis.num_rows,
    )
    generator = build(config.model, config.basis, config.order, spec, seed)
    if generator.basis is None or isinstance(generator.backbone, RAR):
        return generator, spec
    if basis is not None and config.basis.structure == "dense":
        weight, decoder = basis.A / basis.gain[:, None], basis.S * basis.gain
        order, step_of = generator.host_order, basis.step_of
        generator.basis.set_start(weight[:, order].float(), decoder[order].float(), step_of)
    if basis is None or isinstance(generator.backbone, XAR):  # the host's own groups
        generator.basis.step_of.copy_(generator.backbone.step_of)
    return generator, spec


def fit(trainer: Trainer, resumable: Resumable) -> None:
    """Train to the end, saving a state now and then."""
    train = trainer.config.train
    if (state := resumable.load()) is not None:
        trainer.restore(state)
        print(f"resuming at step {trainer.step} of {train.steps}", flush=True)
    progress = Progress(train.steps, "steps", f"train {trainer.config.key}", trainer.step)
    trainer.generator.train()
    while trainer.step < train.steps:
        trainer.advance()
        progress.update(1, loss=trainer.values[-1]["loss"])
        if trainer.step % train.log_every == 0 or trainer.step == train.steps:
            trainer.log()
        if trainer.step % train.checkpoint_every == 0:
            resumable.save(trainer.state())
    progress.close()


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write rows as CSV with a header."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(config: TrainStage) -> None:
    """Train and write model, config, curves and metrics."""
    cache = TokenCache(result_folder(config.scale, "tokens", config.tokens))
    trainer = Trainer(config, cache)
    identity = [config_hash(config), cache.index["tokens_sha256"], code_hash(), torch.__version__]
    resumable = Resumable(scratch_folder(config.scale, "train", config.key, identity))
    fit(trainer, resumable)
    ema = trainer.ema.module
    assert isinstance(ema, Generator)
    if ema.basis is not None:
        ema.basis.project_()
    with staged_folder(result_folder(config.scale, "train", config.key)) as folder:
        save_generator(folder, trainer.generator, ema, config, trainer.spec)
        write_curve(folder / "metrics.csv", trainer.rows)
        write_json(folder / "metrics.json", record(config) | metrics(trainer, ema))
    resumable.delete()


def metrics(trainer: Trainer, ema: Generator) -> dict[str, Any]:
    """Parameter counts, the last losses and the state of A (raw and averaged)."""
    tail = trainer.rows[-max(1, len(trainer.rows) // 10) :]
    result: dict[str, Any] = {
        "parameters": sum(p.numel() for p in trainer.generator.parameters() if p.requires_grad),
        "steps": trainer.step,
        "images_seen": trainer.step * trainer.config.train.batch_size,
        "final_loss": float(np.mean([row["loss"] for row in tail])),
        "dtype": trainer.config.train.precision,
    }
    raw = trainer.generator.basis
    if ema.basis is not None and raw is not None:
        share = raw.diagnostics()["svd_share"]  # the average is projected once, at the end
        result["basis"] = ema.basis.diagnostics() | {"svd_share": share}
    return result


if __name__ == "__main__":
    run("train", main, __doc__)
