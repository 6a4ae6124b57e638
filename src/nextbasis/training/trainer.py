"""Everything that changes while a model is trained, and one step of it."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nextbasis.basis.start import in_host_order
from nextbasis.config import TrainStage
from nextbasis.data.epochs import Epochs
from nextbasis.data.texts import FIRST, Texts
from nextbasis.data.tokens import TokenCache
from nextbasis.families.common.backbone import ReadsCodes, moved
from nextbasis.families.common.execution import compile_blocks, precision, recompute_blocks, sent
from nextbasis.families.common.generator import Generator, build, start_of
from nextbasis.families.common.noise import stream_seed
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.text import SentCaptions, TextSpec
from nextbasis.support import processes
from nextbasis.support.provenance import device
from nextbasis.training import parallel
from nextbasis.training.optimiser import MovingAverage, optimiser, set_rates

NUM_IMAGES = 10_000  # evenly spaced ones, of which a basis or a backbone learns beforehand


class Trainer:
    """A model, its average, its optimiser and where the training stands.

    Under torchrun every process computes its part of each batch; all draw the random numbers of
    the whole batch, so that those of an image do not depend on the number of processes. Only
    dropout does.
    """

    def __init__(self, config: TrainStage, cache: TokenCache, texts: Texts | None = None) -> None:
        """Build the model at its start; `texts` are the captions that labels stand for.

        Raises: ValueError naming the key if basis, model, tokens and processes do not fit each
        other.
        """
        torch.manual_seed(stream_seed("model", config.seed))
        train = config.train
        self.config, self.cache, self.texts, self.device = config, cache, texts, device()
        self.part = parallel.share(train.batch_size)
        self.is_sharded = train.parallel == "fsdp" and processes.count() > 1
        generator, self.spec = build_at_start(config, cache, texts)
        self.generator = generator.to(self.device)
        self.generator.prepare(partial(training_tokens, cache))
        self.ema = MovingAverage(self.generator, train.ema_decay)
        if train.compile:
            compile_blocks(self.generator.backbone)
        if train.recompute:
            recompute_blocks(self.generator.backbone)
        self.loss_of = parallel.loss_of(self.generator, self.average, train.parallel)
        self.optim = optimiser(self.generator, train)
        self.random = torch.Generator().manual_seed(stream_seed("training", config.seed))
        seed = stream_seed("epochs", config.seed)
        self.epochs = Epochs(len(cache.labels), train.batch_size, seed)
        self.step = self.skipped = 0
        self.loss = float("nan")  # of the last step that was read
        self.rows: list[dict[str, float]] = []  # of the curves
        self.values: list[dict[str, float]] = []  # of the steps that were read since the last row
        self.unread: list[Tensor] = []  # the same of later steps, by `names`, on the device
        self.names: tuple[str, ...] = ()
        self.last_basis = self.learned_basis()  # A at the last row

    @property
    def average(self) -> Generator:
        """The moving average of the model."""
        ema = self.ema.module
        assert isinstance(ema, Generator)
        return ema

    def batch(self) -> tuple[Tensor, Tensor]:
        """Tokens and labels of this process's part of the step, a random view of each image.

        The captions that labels stand for are attached to the model.
        """
        items = self.epochs.batch(self.step)
        tokens = sent(self.cache.draw(items, self.random, self.part), self.device)
        labels = torch.from_numpy(np.asarray(self.cache.labels[items[self.part]]))
        if self.texts is not None:
            taken, lengths = (sent(part, self.device) for part in self.texts.take(labels))
            count = len(self.texts)
            self.generator.attach(SentCaptions(count=count, tokens=taken, lengths=lengths))
        return tokens, sent(labels, self.device)

    def advance(self) -> None:
        """One optimiser step; the host does not wait for a GPU, so `read` tells what came of it.

        A step whose loss or gradient is not finite anywhere changes no weights; their moving
        average follows them all the same.
        """
        train, basis = self.config.train, self.generator.basis
        tokens, labels = self.batch()
        draws = self.generator.draw(train.batch_size, self.step / train.steps, self.random)
        torch.manual_seed(stream_seed("dropout", self.config.seed, self.step, processes.rank()))
        with precision(train.precision, self.device):
            loss = self.loss_of(tokens, labels, moved(draws.part(self.part), self.device))
        set_rates(self.optim, train, self.step)
        self.optim.zero_grad(set_to_none=True)
        loss.value.backward()
        if basis is not None:
            basis.tangent_()
        norm = parallel.clip_gradients_(self.generator, train.clip, self.is_sharded)
        self.step += 1
        seen = {"loss": loss.value, "gradient_norm": norm} | loss.notes
        means = processes.mean_(torch.stack([value.detach().float() for value in seen.values()]))
        self.names = tuple(seen)
        self.unread.append(means)
        # What torch's scaler of gradients tells a fused optimiser: to leave this step out.
        self.optim.found_inf = (~means[:2].isfinite().all()).float()  # type: ignore[attr-defined]
        self.optim.step()
        if basis is not None:
            self._project()
        self.ema.update(self.generator)

    def read(self) -> None:
        """Wait for the steps since the last reading, and note what the curves show of them.

        Raises: ValueError if more steps than train.nan_budget were not finite.
        """
        if not self.unread:
            return
        found = torch.stack(self.unread).tolist()
        self.unread = []
        for step, numbers in enumerate(found, self.step - len(found)):
            values = dict(zip(self.names, numbers, strict=True))
            if np.isfinite([values["loss"], values["gradient_norm"]]).all():
                self.values.append(values)
            else:
                self._skip(step, values)
            self.loss = values["loss"]

    def _skip(self, step: int, values: dict[str, float]) -> None:
        train = self.config.train
        self.skipped += 1
        found = (
            f"the loss of run {self.config.key} is {values['loss']} and the norm of its gradient "
            f"{values['gradient_norm']} at step {step}"
        )
        if self.skipped > train.nan_budget:
            raise ValueError(
                f"{found}; train.nan_budget={train.nan_budget} such steps are allowed; a smaller "
                f"train.lr (now {train.lr}) or train.clip (now {train.clip}) may help"
            )
        print(f"{found}; left out, {self.skipped} of {train.nan_budget}", flush=True)

    def _project(self) -> None:
        basis = self.generator.basis
        assert basis is not None
        if processes.rank() == 0:
            basis.project_()
        processes.copy_from_first_([*basis.parameters(), *basis.buffers()])

    def log(self) -> None:
        """Add a row to the curves: means since the last row, and the state of A.

        Raises: ValueError if more steps than train.nan_budget were not finite.
        """
        self.read()
        if not self.values:
            return
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
        """All that a resumed training needs, of however many processes; all must ask for it.

        Raises: ValueError if more steps than train.nan_budget were not finite.
        """
        self.read()
        return {
            "generator": parallel.whole_state(self.generator.state_dict()),
            "ema": parallel.whole_state(self.ema.state_dict()),
            "optim": parallel.whole_state(self.optim.state_dict()),
            "random": self.random.get_state(),
            "step": self.step,
            "skipped": self.skipped,
            "rows": self.rows,
            "values": self.values,
            "last_basis": self.last_basis,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        parallel.load_whole(self.generator, state["generator"])
        parallel.load_whole(self.ema, state["ema"])
        parallel.load_whole_optimiser(self.optim, state["optim"])
        self.random.set_state(state["random"])
        self.step, self.skipped = state["step"], state["skipped"]
        self.rows, self.values = state["rows"], state["values"]
        self.last_basis = state["last_basis"].to(self.device)

    def models(self) -> tuple[Generator, Generator]:
        """The model and its average, whole; all processes must ask for them."""
        if not self.is_sharded:
            return self.generator, self.average
        found = []
        for model in (self.generator, self.average):
            state = parallel.whole_state(model.state_dict())
            plain = build_at_start(self.config, self.cache, self.texts)[0]
            plain.load_state_dict(state)
            found.append(plain)
        return found[0], found[1]


def text_spec(texts: Texts) -> TextSpec:
    """What a model must know of captions to read them."""
    index = texts.index
    return TextSpec(
        num_tokens=index["num_tokens"],
        vocabulary_size=0 if index["width"] else FIRST + len(index["vocabulary"]),
        width=index["width"],
    )


def training_tokens(cache: TokenCache) -> Tensor:
    """Numbers of evenly spaced training images, from which something is computed beforehand."""
    return cache.expected(every=max(1, len(cache.labels) // NUM_IMAGES))


def build_at_start(
    config: TrainStage, cache: TokenCache, texts: Texts | None = None
) -> tuple[Generator, TokenSpec]:
    """The untrained generator, A at its configured start, and what it models."""
    seed = stream_seed("basis", config.seed)
    basis = start_of(config.basis, cache.layout, partial(training_tokens, cache), seed)
    text = None if texts is None else text_spec(texts)
    spec = TokenSpec.of_layout(cache.layout, basis, cache.num_classes, text)
    generator = build(config.model, config.basis, config.order, spec, seed)
    if isinstance(generator.backbone, ReadsCodes):
        generator.backbone.attach_codes(cache.codes())
    if generator.basis is None:
        return generator, spec
    if basis is not None and config.basis.structure == "dense":
        generator.basis.set_start(*in_host_order(basis, generator.host_order))
    if basis is None or generator.backbone.grouped:  # the host's own groups
        generator.basis.step_of.copy_(generator.backbone.step_of)
    return generator, spec
