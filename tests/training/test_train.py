import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from builders import (
    basis_config,
    generator,
    model_config,
    tokens,
    train_config,
    train_stage,
)
from nextbasis.basis import make
from nextbasis.config import BasisConfig, TrainStage
from nextbasis.data.tokens import TokenCache
from nextbasis.families.common.checkpoint import Resumable, load_generator
from nextbasis.families.xar.model import XAR
from nextbasis.stages import train
from nextbasis.support.files import result_folder
from nextbasis.training.optimiser import MovingAverage, optimiser, rate_factor, set_rates
from nextbasis.training.parallel import clip_gradients_
from nextbasis.training.trainer import build_at_start
from tokens_at_hand import write_tokens

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stage(family: str, steps: int = 12, **changes: float | str) -> TrainStage:
    values: dict[str, Any] = {"steps": steps, "batch_size": 8, "lr": 1e-3}
    basis = basis_config() if family == "rar" else basis_config(learned=True, objective="r0")
    return train_stage(model_config(family, dropout=0.1), basis, train_config(**values | changes))


def outputs() -> dict[str, bytes]:
    folder = Path("results/test/train/run")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_a_killed_training_ends_in_the_same_bits(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(family == "rar")
    train.main(stage(family))
    uninterrupted = outputs()
    assert set(uninterrupted) == {"model.safetensors", "config.json", "metrics.csv", "metrics.json"}
    for path in Path("results/test/train/run").iterdir():
        path.unlink()

    advance = train.Trainer.advance

    def killed(trainer: train.Trainer) -> None:
        if trainer.step == 8:
            raise KeyboardInterrupt
        advance(trainer)

    monkeypatch.setattr(train.Trainer, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train.main(stage(family))
    assert not outputs()
    steps = []

    def counted(trainer: train.Trainer) -> None:
        steps.append(trainer.step)
        advance(trainer)

    monkeypatch.setattr(train.Trainer, "advance", counted)
    train.main(stage(family))
    assert steps == list(range(8, 12)), "it goes on from the last state"
    assert outputs() == uninterrupted
    assert not list(Path("scratch").rglob("state.pt"))


def test_a_changed_config_does_not_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    write_tokens(False)
    advance = train.Trainer.advance

    def killed(trainer: train.Trainer) -> None:
        if trainer.step == 8:
            raise KeyboardInterrupt
        advance(trainer)

    monkeypatch.setattr(train.Trainer, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train.main(stage("xar"))
    steps = []
    monkeypatch.setattr(train.Trainer, "advance", lambda t: (steps.append(t.step), advance(t)))
    train.main(stage("xar", lr=2e-3))
    assert steps[0] == 0


def test_clip_0_takes_gradients_as_they_are() -> None:
    made = generator("xar")
    draws = made.draw(4, 0.0, torch.Generator().manual_seed(0))
    made.loss(tokens("xar"), torch.arange(4), draws).value.backward()
    gradients = [p.grad for p in made.backbone.parameters() if p.grad is not None]
    before = torch.cat([gradient.flatten().clone() for gradient in gradients])
    norm = clip_gradients_(made, 0.0, False)
    torch.testing.assert_close(norm, before.norm())
    assert torch.equal(torch.cat([gradient.flatten() for gradient in gradients]), before)
    clip_gradients_(made, norm.item() / 2, False)
    torch.testing.assert_close(torch.cat([g.flatten() for g in gradients]), before / 2)


def test_a_backbone_is_prepared_with_the_tokens_that_it_will_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of a small training set, in its own order and mapped by A at its start."""
    write_tokens(False)
    prepared: list[torch.Tensor] = []
    monkeypatch.setattr(XAR, "prepare", lambda _, seen: prepared.append(seen()))
    cache = TokenCache(result_folder("test", "tokens", "tokens"))
    config = replace(stage("xar"), basis=basis_config(init="random", options={"seed": 3}))
    made = train.Trainer(config, cache).generator
    x = torch.from_numpy(
        cache.tokens.take(np.arange(len(cache.labels)), np.zeros(len(cache.labels), int))
    )
    assert made.basis is not None
    expected = torch.einsum("kn,bnd->bkd", made.basis.matrix(), x[:, made.host_order])
    torch.testing.assert_close(prepared[0], expected)


def test_recomputing_trains_the_same_model_and_bfloat16_another() -> None:
    write_tokens(False)
    models = {}
    for key, value in (("recompute", False), ("recompute", True), ("precision", "bfloat16")):
        train.main(stage("mar", **{key: value}))
        models[value] = outputs()["model.safetensors"]
    assert models[False] == models[True] != models["bfloat16"]
    assert json.loads(outputs()["metrics.json"])["dtype"] == "bfloat16"


def test_a_loss_that_is_not_finite_names_run_and_step_and_keeps_old_outputs() -> None:
    write_tokens(False)
    train.main(stage("xar"))
    before = outputs()
    with pytest.raises(
        ValueError, match=r"the loss of run run is nan and .* at step \d+; train.nan_budget=0"
    ):
        train.main(stage("xar", lr=1e30))
    assert outputs() == before


def with_nan_at(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Let one number of these steps' tokens be NaN."""
    batch = train.Trainer.batch

    def broken(trainer: train.Trainer) -> tuple[torch.Tensor, torch.Tensor]:
        tokens, labels = batch(trainer)
        if trainer.step in steps:
            tokens[0, 0, 0] = torch.nan
        return tokens, labels

    monkeypatch.setattr(train.Trainer, "batch", broken)


def test_steps_that_are_not_finite_change_nothing_within_their_budget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens(False)
    config = stage("xar", nan_budget=2)
    with_nan_at(monkeypatch, 3, 7)
    trainer = train.Trainer(config, TokenCache(result_folder("test", "tokens", "tokens")))
    weights = dict(trainer.generator.named_parameters())
    for step in range(5):
        before = {name: value.clone() for name, value in trainer.state()["generator"].items()}
        average = {name: value.clone() for name, value in trainer.state()["ema"].items()}
        trainer.advance()
        stays = all(torch.equal(before[name], value) for name, value in weights.items())
        assert stays == (step in (0, 3))  # the rate of the first step is 0
        for name, value in trainer.ema.state_dict().items():
            if value.is_floating_point():  # the average follows the weights, which stay finite
                now = trainer.generator.state_dict()[name.removeprefix("module.")]
                expected = torch.lerp(average[name], now, 1 - config.train.ema_decay)
                is_weight = name.removeprefix("module.") in weights
                torch.testing.assert_close(value, expected if is_weight else now)
    train.main(config)
    assert json.loads(outputs()["metrics.json"])["skipped_steps"] == 2
    assert b"nan" not in outputs()["metrics.csv"]
    assert "is nan" in capsys.readouterr().out
    with_nan_at(monkeypatch, 3, 5, 7)
    with pytest.raises(ValueError, match=r"at step 7; train.nan_budget=2 such steps are allowed"):
        train.main(config)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """As in a terminal: shells let jobs in the background, such as CI's, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_a_state_and_end_with_their_status(
    number: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens(False)
    config = stage("xar", checkpoint_minutes=60.0)
    train.main(config)
    uninterrupted = outputs()
    (Path("results/test/train/run") / "model.safetensors").unlink()
    advance = train.Trainer.advance

    def told(trainer: train.Trainer) -> None:
        if trainer.step == 6:
            os.kill(os.getpid(), number)
        advance(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "advance", told)
        with pytest.raises(SystemExit) as exit:
            train.main(config)
    assert exit.value.code == status and "stopped at step 7 of 12" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    train.main(config)
    assert "resuming at step 7" in capsys.readouterr().out
    assert outputs() == uninterrupted


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_ends_at_once_and_an_ignored_one_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(KeyboardInterrupt), train.told_to_stop() as told:
        os.kill(os.getpid(), signal.SIGINT)
        assert told == [signal.SIGINT]
        os.kill(os.getpid(), signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells do to jobs in the background
    with train.told_to_stop() as told:
        os.kill(os.getpid(), signal.SIGINT)
        assert told == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == [signal.SIGTERM]
    assert signal.signal(signal.SIGINT, before) == signal.SIG_IGN


def test_the_state_before_the_last_one_helps_if_that_is_corrupt(tmp_path: Path) -> None:
    states = Resumable(tmp_path / "states")
    assert states.load() is None
    for step in range(4):
        states.save({"step": step})
    found = sorted(path.name for path in states.folder.iterdir())
    assert found == ["before.pt", "state.pt"]
    assert states.load() == {"step": 3}
    states.path.write_bytes(states.path.read_bytes()[:50])
    assert states.load() == {"step": 2}
    states.before.write_bytes(b"")
    with pytest.raises(ValueError, match=r"state.pt is corrupt .*before.pt is corrupt .*delete"):
        states.load()


def test_a_multiple_of_the_identity_keeps_the_hosts_order() -> None:
    write_tokens(False)
    config = stage("xar")
    config.basis = basis_config(init="scaled", options={"scale": 0.5})
    cache = TokenCache(result_folder("test", "tokens", "tokens"))
    generator, _ = build_at_start(config, cache)
    assert generator.basis is not None
    assert generator.host_order.tolist()[:4] == [0, 1, 4, 5], "cells of xAR are squares"
    assert torch.equal(generator.basis.matrix(), 0.5 * torch.eye(16))
    assert torch.equal(generator.basis.decode_matrix(), 2 * torch.eye(16))
    config.basis = basis_config(init="alternate")  # a named order stays what it is in the raster
    generator, _ = build_at_start(config, cache)
    assert generator.basis is not None
    in_raster = torch.empty(16, 16)
    in_raster[:, generator.host_order] = generator.basis.matrix()
    assert torch.equal(in_raster, make("alternate", 4, 4).A.float())


def test_missing_or_corrupt_tokens_are_named() -> None:
    with pytest.raises(FileNotFoundError, match="tokens/tokens/index.json"):
        train.main(stage("xar"))
    write_tokens(False)
    path = Path("results/test/tokens/tokens/shards/00001.npy")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="shards/00001.npy is not a complete"):
        train.main(stage("xar"))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no file .*shards/00001.npy"):
        train.main(stage("xar"))


def test_a_trained_generator_loads_and_a_corrupt_one_is_named() -> None:
    write_tokens(False)
    train.main(stage("xar"))
    folder = Path("results/test/train/run")
    generator, config = load_generator(folder)
    assert config["model"]["family"] == "xar" and generator.basis is not None
    raw, _ = load_generator(folder, "raw")
    assert not torch.equal(raw.basis.matrix(), generator.basis.matrix())
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="model.safetensors is corrupt"):
        load_generator(folder)


def test_learned_basis_moves_and_a_fixed_one_does_not() -> None:
    write_tokens(False)
    train.main(stage("xar"))
    learned = json.loads(outputs()["metrics.json"])["basis"]
    assert learned["distance_from_start"] > 1e-4
    config = stage("xar")
    config.basis = basis_config(init="klt")
    train.main(config)
    fixed = json.loads(outputs()["metrics.json"])["basis"]
    assert fixed["distance_from_start"] == 0 and fixed["orthogonality_error"] < 1e-8


def test_rate_warms_up_stays_and_decays_to_its_floor() -> None:
    config = stage("xar", steps=100, min_lr=1e-4).train
    factors = [rate_factor(config, step) for step in range(101)]
    assert factors[0] == 0 and factors[5] == pytest.approx(0.5) and factors[10] == 1
    assert factors[50] == 1 and factors[75] == pytest.approx(0.55) and factors[100] == 0.1


def test_rate_may_fall_linearly_from_a_warm_up_that_starts_above_zero() -> None:
    config = stage("xar", steps=100, min_lr=1e-4, warmup_start=0.2, decay="linear").train
    factors = [rate_factor(config, step) for step in (0, 5, 10, 50, 75, 90, 100)]
    assert factors == pytest.approx([0.2, 0.6, 1, 1, 0.55, 0.28, 0.1])


def test_weight_decay_moves_as_half_a_cosine_and_only_where_there_is_some() -> None:
    config = stage("xar", steps=100, weight_decay=0.02, weight_decay_end=0.08).train
    optim = optimiser(generator("rar"), config)
    for step, wanted in ((0, 0.02), (50, 0.05), (100, 0.08)):
        set_rates(optim, config, step)
        assert [group["weight_decay"] for group in optim.param_groups] == pytest.approx([wanted, 0])
    with pytest.raises(ValueError, match="train.decay must be one of cosine, linear; got 'step'"):
        stage("xar", decay="step")


def test_moving_average_averages_from_the_first_step() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    ema = MovingAverage(module, 0.9)
    torch.nn.init.ones_(module.weight)
    for _ in range(3):
        ema.update(module)
    assert ema.module.weight.item() == pytest.approx(1 - 0.9**3)


def test_the_default_soft_projection_seldom_needs_singular_values() -> None:
    # White tokens, few steps: the easy case. On few and correlated tokens training does push sigma
    # to its lower limit, and then more steps need a projection than these.
    write_tokens(False)
    values = yaml.safe_load((ROOT / "config/basis/bar.yaml").read_text())
    config = replace(stage("xar", steps=60), basis=BasisConfig(**values))
    assert config.basis.learned and config.basis.projection == "soft"
    train.main(config)
    metrics = json.loads(outputs()["metrics.json"])
    assert metrics["basis"]["distance_from_start"] > 0.1  # A did move
    assert metrics["basis"]["projected_share"] <= 0.05
