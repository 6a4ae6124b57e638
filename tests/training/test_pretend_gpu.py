"""Training and sampling on a GPU, pretend or real, against the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from builders import (
    basis_config,
    generator,
    model_config,
    sampler_config,
    tokens,
    train_config,
    train_stage,
)
from gpus import DEVICE, Gpu
from host_syncs import counting_syncs
from nextbasis.config import BasisConfig
from nextbasis.data.tokens import TokenCache
from nextbasis.families import find, names
from nextbasis.families.common.backbone import moved
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.support.files import result_folder
from nextbasis.training.optimiser import MovingAverage, optimiser
from nextbasis.training.trainer import Trainer
from pretend_gpu import pretend_gpu
from tokens_at_hand import write_tokens_of

LABELS = torch.tensor([0, 1, 2, 4])
BASES = {
    "none": basis_config(),
    "soft": basis_config(learned=True, objective="r0"),
    "hard": basis_config(learned=True, projection="hard"),
    "kronecker": basis_config(learned=True, structure="kronecker"),
    "blocks": basis_config(learned=True, structure="blocks"),
    "householder": basis_config(learned=True, structure="householder", reflections=4),
}
CPU = torch.device("cpu")
CASES = [
    (family, basis)
    for family in names()
    for basis in BASES
    if basis == "none" or find(family).has_basis
]


def trained(family: str, basis: str, device: torch.device) -> tuple[Generator, list[float]]:
    """The moving average of two steps of training, and their losses."""
    made = generator(family, BASES[basis]).to(device).train()
    average = MovingAverage(made, 0.5)
    optim = optimiser(made, train_config(steps=2, batch_size=4, lr=1e-3))
    random, losses = torch.Generator().manual_seed(0), []
    for step in range(2):
        draws = moved(made.draw(4, step / 2, random).part(slice(0, 4)), device)
        optim.zero_grad()
        loss = made.loss(tokens(family).to(device), LABELS.to(device), draws)
        loss.value.backward()
        if made.basis is not None:
            made.basis.tangent_()
        optim.step()
        if made.basis is not None:
            made.basis.project_()
        average.update(made)
        losses.append(loss.value.item())
    averaged = average.module
    assert isinstance(averaged, Generator)
    return averaged.eval(), losses


def on_the_cpu(value: Any) -> Any:
    return value.cpu().clone() if isinstance(value, Tensor) else value


def sampled(made: Generator, family: str, device: torch.device, guidance: float) -> Tensor:
    noise = ImageNoise(0, range(4), device)
    return made.sample(LABELS.to(device), noise, sampler_config(family, guidance=guidance))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(("family", "basis"), CASES)
def test_training_and_sampling_equal_those_of_the_cpu(
    family: str, basis: str, deterministic: bool, gpu: Gpu
) -> None:
    here, losses = trained(family, basis, CPU)
    plain = sampled(here, family, CPU, 1.0), sampled(here, family, CPU, 2.0)
    with gpu(deterministic):
        there, their_losses = trained(family, basis, DEVICE)
        drawn = [sampled(there, family, DEVICE, guidance).cpu() for guidance in (1.0, 2.0)]
        assert all(p.is_cuda for p in there.parameters())
    assert their_losses == pytest.approx(losses, rel=gpu.rounding * 1e-5)
    for ours, theirs in zip(plain, drawn, strict=True):
        # MAR's first denoising steps multiply rounding by thousands.
        assert (theirs - ours).abs().max() <= gpu.rounding * 5e-3 * ours.abs().max()


@pytest.mark.parametrize("family", names())
def test_a_loss_reads_no_number_from_the_gpu(family: str, gpu: Gpu) -> None:
    """Every read makes the CPU wait for the GPU."""
    with gpu():
        made = generator(family).to(DEVICE)
        draws = moved(made.draw(4, 0.5, torch.Generator().manual_seed(0)), DEVICE)
        x, labels = tokens(family).to(DEVICE), LABELS.to(DEVICE)
        with gpu.syncs() as syncs:
            made.loss(x, labels, draws).value.backward()
        assert not syncs


def on_a_gpu(basis: BasisConfig, family: str, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A training that has taken one step on the GPU."""
    write_tokens_of(family)
    config = train_stage(model_config(family), basis, train_config(steps=8, batch_size=4, lr=1e-3))
    monkeypatch.setattr("nextbasis.training.trainer.device", lambda: DEVICE)
    trainer = Trainer(config, TokenCache(result_folder("test", "tokens", "tokens")))
    trainer.advance()
    return trainer


@pytest.mark.parametrize(("family", "basis"), CASES)
def test_the_host_waits_for_the_gpu_at_log_lines_only(
    family: str, basis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    monkeypatch.chdir(tmp_path)
    with gpu(deterministic=True):
        trainer = on_a_gpu(BASES[basis], family, monkeypatch)
        with gpu.syncs() as syncs:
            for _ in range(3):
                trainer.advance()
        assert not syncs
        with gpu.syncs() as syncs:
            trainer.log()
        assert syncs and trainer.rows[-1]["step"] == 4


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("family", names())
def test_sampling_waits_at_most_once_a_batch_for_its_distinct_classes(
    family: str, guidance: float
) -> None:
    with pretend_gpu(deterministic=True):
        made = generator(family).to(DEVICE).eval()
        noise, labels = ImageNoise(0, range(4), DEVICE), LABELS.to(DEVICE)
        with counting_syncs() as syncs:
            made.sample(labels, noise, sampler_config(family, guidance=guidance))
    assert len(syncs) <= 1 and all(sync.operation == "_unique2" for sync in syncs), syncs


@pytest.mark.parametrize("family", names())
def test_a_trainer_resumes_on_the_gpu_as_on_the_cpu(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    """Four steps, of which the last two go on from a saved state."""
    monkeypatch.chdir(tmp_path)
    write_tokens_of(family)
    basis = basis_config(learned=find(family).has_basis, projection="hard")
    config = train_stage(model_config(family), basis, train_config(steps=4, batch_size=4, lr=1e-3))

    def losses() -> list[float]:
        cache, found = TokenCache(result_folder("test", "tokens", "tokens")), []
        trainer = Trainer(config, cache)
        for step in range(4):
            if step == 2:
                state = tree_map(on_the_cpu, trainer.state())  # as torch.load gives it back
                trainer = Trainer(config, cache)
                trainer.restore(state)
            trainer.advance()
            trainer.read()
            found.append(trainer.loss)
        return found

    here = losses()
    with gpu(deterministic=True):
        assert losses() == pytest.approx(here, rel=gpu.rounding * 1e-4)
