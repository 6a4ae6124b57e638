"""Adan against its formulas in float64, step after step; in trainings; on a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from builders import basis_config, generator, model_config, train_config, train_stage
from gpus import DEVICE, Gpu
from nextbasis.config import TrainStage
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import train
from nextbasis.support.files import result_folder
from nextbasis.training.adan import STATE, Adan
from nextbasis.training.optimiser import optimiser
from nextbasis.training.trainer import Trainer
from tokens_at_hand import write_tokens

BETAS, EPS, RATE, DECAY = (0.98, 0.92, 0.99), 1e-8, 0.01, 0.1
LABELS = torch.tensor([0, 1, 2, 4])
CHOSEN: dict[str, Any] = {"optimizer": "adan", "beta1": 0.98, "beta2": 0.92, "beta3": 0.99}


def random(count: int) -> Tensor:
    return torch.randn(count, 3, 5, generator=torch.Generator().manual_seed(0))


def closed_form(weight: Tensor, gradients: Tensor, decay: float) -> Tensor:
    """Algorithm 1 of the paper, in whose notation betas are 1 - BETAS, as sums over all steps."""
    weight, g = weight.double(), gradients.double()
    change = torch.cat((torch.zeros_like(g[:1]), g.diff(dim=0)))
    b1, b2, b3 = (1 - beta for beta in BETAS)
    for k in range(1, len(g) + 1):
        left = [(1 - b) ** torch.arange(k - 1, -1, -1.0).double() for b in (b1, b2, b3)]
        m, v, n = (
            b * torch.einsum("k,krc->rc", share, terms[:k]) / (1 - (1 - b) ** k)
            for b, share, terms in zip(
                (b1, b2, b3), left, (g, change, (g + (1 - b2) * change).square()), strict=True
            )
        )
        weight = (weight - RATE * (m + (1 - b2) * v) / (n.sqrt() + EPS)) / (1 + RATE * decay)
    return weight


def stepped(weight: Tensor, gradients: Tensor, decay: float, skipped: int = -1) -> Tensor:
    """The weight after a step for each gradient; one of them may be infinite, and left out."""
    parameter = torch.nn.Parameter(weight.clone())
    optim = Adan([parameter], RATE, BETAS, EPS, decay)
    for step, gradient in enumerate(gradients):
        if step == skipped:
            parameter.grad = torch.full_like(weight, torch.inf)
            optim.found_inf = torch.ones((), device=weight.device)
            optim.step()
        optim.found_inf = torch.zeros((), device=weight.device)
        parameter.grad = gradient.clone()
        optim.step()
    return parameter.detach()


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_weights_move_as_the_paper_says(decay: float) -> None:
    weight, *gradients = random(8)
    expected = closed_form(weight, torch.stack(gradients), decay)
    found = stepped(weight, torch.stack(gradients), decay)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("skipped", [0, 1, 4])
def test_a_step_that_is_left_out_changes_nothing(skipped: int) -> None:
    weight, *gradients = random(8)
    plain = stepped(weight, torch.stack(gradients), DECAY)
    assert torch.equal(stepped(weight, torch.stack(gradients), DECAY, skipped), plain)


def test_a_config_chooses_it_with_three_decays() -> None:
    config = train_config(steps=2, batch_size=4, lr=1e-3, **CHOSEN)
    optim = optimiser(generator("mdtv2"), config)
    assert isinstance(optim, Adan)
    assert [group["betas"] for group in optim.param_groups] == [(0.98, 0.92, 0.99)] * 2
    plain = optimiser(generator("mdtv2"), train_config(steps=2, batch_size=4, lr=1e-3))
    assert isinstance(plain, torch.optim.AdamW)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"optimizer": "adam"}, "train.optimizer must be one of adamw, adan; got 'adam'"),
        ({"optimizer": "adan"}, "train.optimizer=adan needs train.beta3, between 0 and 1"),
        ({"optimizer": "adan", "beta3": 1.5}, r"train.beta3 must lie in \[0, 1\], got 1.5"),
        ({"beta3": 0.9}, "train.beta3 is of train.optimizer=adan alone, got 0.9 with adamw"),
    ],
)
def test_a_wrong_choice_is_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        train_config(steps=2, batch_size=4, lr=1e-3, **changes)


def stage(**changes: Any) -> TrainStage:
    learned = basis_config(learned=True, objective="r0")
    return train_stage(
        model_config("mdtv2"),
        learned,
        train_config(**{"steps": 6, "batch_size": 8, "lr": 1e-3} | CHOSEN | changes),
    )


def on_the_cpu(value: Any) -> Any:
    return value.cpu().clone() if torch.is_tensor(value) else value


def losses(config: TrainStage, resumed_at: int = -1) -> list[float]:
    """Of all steps of a training that may go on from a saved state, as torch.load gives it back."""
    cache, found = TokenCache(result_folder("test", "tokens", "tokens")), []
    trainer = Trainer(config, cache)
    for step in range(config.train.steps):
        if step == resumed_at:
            state = tree_map(on_the_cpu, trainer.state())
            trainer = Trainer(config, cache)
            trainer.restore(state)
        trainer.advance()
        trainer.read()
        found.append(trainer.loss)
    return found


def test_a_training_goes_on_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tokens(False)
    here = losses(stage())
    assert losses(stage(), resumed_at=3) == here
    assert losses(stage(optimizer="adamw", beta3=None)) != here
    monkeypatch.setattr("nextbasis.training.trainer.device", lambda: DEVICE)
    with gpu(deterministic=True):
        there = losses(stage(), resumed_at=3)
    assert there == pytest.approx(here, rel=gpu.rounding * 1e-4)


def test_a_step_on_a_gpu_is_that_of_the_cpu_and_waits_for_nothing(gpu: Gpu) -> None:
    weight, *gradients = random(5)
    here = stepped(weight, torch.stack(gradients), DECAY, skipped=2)
    with gpu():
        given = [gradient.to(DEVICE) for gradient in gradients]
        there = weight.to(DEVICE)
        with gpu.syncs() as syncs:
            moved = stepped(there, torch.stack(given), DECAY, skipped=2)
        assert not syncs
        torch.testing.assert_close(moved.cpu(), here, rtol=1e-5, atol=1e-6)


def test_the_average_follows_and_a_training_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tokens(False)
    trainer = Trainer(stage(ema_decay=0.5), TokenCache(result_folder("test", "tokens", "tokens")))
    trainer.advance()
    trainer.advance()
    state = trainer.state()["optim"]
    assert {frozenset(values) for values in state["state"].values()} == {frozenset(STATE)}
    pairs = zip(trainer.average.parameters(), trainer.generator.parameters(), strict=True)
    assert any(not torch.equal(kept, new) for kept, new in pairs)
    train.main(stage())
    assert (result_folder("test", "train", "run") / "model.safetensors").is_file()
