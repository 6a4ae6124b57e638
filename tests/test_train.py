import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from builders import basis_config, model_config, order_config, write_cache
from nextbasis.checkpoint import load_generator
from nextbasis.config import BasisConfig, TrainConfig, TrainStage
from nextbasis.optimiser import moving_average, rate_factor
from nextbasis.stages import train

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_tokens(discrete: bool) -> None:
    random = np.random.default_rng(0)
    tokens = random.normal(size=(40, 2, 16, 3)).astype(np.float32)
    if discrete:
        tokens = random.integers(11, size=(40, 2, 16)).astype(np.int32)
    index = {"grid": [4, 4], "channels": 3, "codebook_size": 11 if discrete else 0}
    write_cache(Path("results/test/tokens/tokens"), tokens, np.arange(40) % 5, 15, **index)


def stage(family: str, steps: int = 12, **changes: float | str) -> TrainStage:
    values = {"steps": steps, "batch_size": 8, "lr": 1e-3, "warmup": 0.1, "decay_start": 0.5}
    values |= {"min_lr": 0.0, "weight_decay": 0.02, "beta1": 0.9, "beta2": 0.95, "clip": 1.0}
    values |= {"ema_decay": 0.9, "log_every": 4, "checkpoint_every": 3}
    values |= {"precision": "float32", "recompute": False, "compile": False}
    basis = basis_config() if family == "rar" else basis_config(learned=True, objective="r0")
    return TrainStage(
        scale="test",
        key="run",
        seed=0,
        tokens="tokens",
        model=model_config(family, dropout=0.1),
        basis=basis,
        order=order_config(),
        train=TrainConfig(**values | changes),
    )


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
    assert steps == list(range(6, 12)), "it goes on from the last state, at step 6"
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
    with pytest.raises(ValueError, match=r"the loss of run run is nan at step \d+; a smaller"):
        train.main(stage("xar", lr=1e30))
    assert outputs() == before


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
    learned = json.loads(Path("results/test/train/run/metrics.json").read_text())["basis"]
    assert learned["distance_from_start"] > 1e-4
    config = stage("xar")
    config.basis = basis_config(init="klt")
    train.main(config)
    fixed = json.loads(Path("results/test/train/run/metrics.json").read_text())["basis"]
    assert fixed["distance_from_start"] == 0 and fixed["orthogonality_error"] < 1e-8


def test_rate_warms_up_stays_and_decays_to_its_floor() -> None:
    config = stage("xar", steps=100, min_lr=1e-4).train
    factors = [rate_factor(config, step) for step in range(101)]
    assert factors[0] == 0 and factors[5] == pytest.approx(0.5) and factors[10] == 1
    assert factors[50] == 1 and factors[75] == pytest.approx(0.55) and factors[100] == 0.1


def test_moving_average_averages_from_the_first_step() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    ema = moving_average(module, 0.9)
    torch.nn.init.ones_(module.weight)
    for _ in range(3):
        ema.update_parameters(module)
    assert ema.module.weight.item() == pytest.approx(1 - 0.9**3)


def test_the_default_soft_projection_seldom_needs_singular_values() -> None:
    # White tokens, few steps: the easy case. On few and correlated tokens training does push sigma
    # to its lower limit, and then more steps need a projection than these.
    write_tokens(False)
    values = yaml.safe_load((ROOT / "config/basis/bar.yaml").read_text())
    config = replace(stage("xar", steps=60), basis=BasisConfig(**values))
    assert config.basis.learned and config.basis.projection == "soft"
    train.main(config)
    metrics = json.loads(Path("results/test/train/run/metrics.json").read_text())
    assert metrics["basis"]["distance_from_start"] > 0.1  # A did move
    assert metrics["basis"]["svd_share"] <= 0.05
