"""Two processes, started by torchrun and joined by Gloo, against one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from builders import basis_config, model_config, order_config, train_config
from command import ROOT
from nextbasis.config import ReferenceStage, SampleStage, ScoreStage, TrainStage, compose
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import reference, score, train
from nextbasis.support.files import read_json, result_folder
from nextbasis.training.trainer import Trainer
from scoring import write_samples
from tokens_at_hand import write_tokens
from two_processes import in_two_processes

TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}  # of float32 sums in another order


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stage(family: str, **changes: Any) -> TrainStage:
    learned = {"learned": True, "objective": "r0", "projection": "soft", "delta": 1e-4, "lr": 1e-2}
    return TrainStage(
        reproducible=True,
        captions="classes",
        scale="test",
        key="run",
        seed=0,
        tokens="tokens",
        model=model_config(family),
        basis=basis_config(**{} if family == "rar" else learned),
        order=order_config(),
        train=train_config(steps=8, batch_size=8, lr=1e-3, **changes),
    )


@pytest.mark.parametrize("family", ["mar", "xar", "rar"])
def test_gradients_are_those_of_one_process(family: str) -> None:
    write_tokens(family == "rar")
    configs = [stage(family, parallel=parallel) for parallel in ("ddp", "fsdp")]
    single = Trainer(configs[0], TokenCache(result_folder("test", "tokens", "tokens")))
    single.advance()
    in_two_processes("one_step", configs)
    for config in configs:
        parallel = config.train.parallel
        found = torch.load(f"step-{parallel}.pt")
        for name, parameter in single.generator.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(found["gradients"][name], parameter.grad, **TOLERANCE)
        for name, value in single.values[0].items():
            assert found["values"][0][name] == pytest.approx(value, rel=1e-4), name
        first, second = (torch.load(f"basis-{parallel}-{rank}.pt") for rank in range(2))
        assert torch.equal(first, second)
        torch.testing.assert_close(first, single.learned_basis(), **TOLERANCE)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_training_stopped_in_two_processes_goes_on_in_one_and_in_two(parallel: str) -> None:
    write_tokens(False)
    config = stage("mar", parallel=parallel, checkpoint_minutes=60.0)  # SIGTERM alone saves
    model = Path("results/test/train/run/model.safetensors")
    train.main(config)
    single = load_file(model)
    model.unlink()
    text = in_two_processes("stopped", config, expected=1)
    assert "stopped at step 5 of 8; run it again to go on" in text and "143" in text
    assert not model.exists()
    kept = {path: path.read_bytes() for path in Path("scratch").rglob("*.pt")}
    assert len(kept) == 1
    train.main(config)
    in_one = load_file(model)
    for path, content in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert "resuming at step 5 of 8" in in_two_processes("whole_training", config)
    in_two = load_file(model)
    assert json.loads(model.with_name("metrics.json").read_text())["processes"] == 2
    assert set(single) == set(in_one) == set(in_two)
    for name, value in single.items():  # Adam turns a rounded gradient near 0 into a small step
        torch.testing.assert_close(in_one[name], value, rtol=1e-2, atol=2e-4, msg=name)
        torch.testing.assert_close(in_two[name], value, rtol=1e-2, atol=2e-4, msg=name)


def test_processes_that_cannot_share_a_batch_are_told() -> None:
    write_tokens(False)
    config = stage("xar")
    config.train.batch_size = 7
    text = in_two_processes("whole_training", config, expected=1)
    assert "train.batch_size must be a multiple of the 2 processes, got 7" in text


def test_scores_of_two_processes_are_those_of_one() -> None:
    for name in ("src", "config"):
        Path(name).symlink_to(ROOT / name)
    told = ["scale=cpu", "key=mar_b", "run=mar_b", "sampler=cpu/mar", "seed=0"]
    sampling: SampleStage = compose("sample", told)
    config: ScoreStage = compose("score", [*told, "evaluation=cpu", "evaluation.num_reference=200"])
    write_samples(sampling)
    reference.main(
        ReferenceStage(reproducible=True, scale="cpu", key="", evaluation=config.evaluation)
    )
    path = result_folder("cpu", "score", "mar_b") / "score.json"
    score.main(config)
    single = read_json(path)
    path.unlink()
    in_two_processes("scoring", config)
    assert read_json(path) == single  # values, protocol and provenance, to the last bit
    assert [other.name for other in path.parent.iterdir()] == ["score.json"]


def test_images_of_another_process_that_have_no_finite_features_are_named() -> None:
    for name in ("src", "config"):
        Path(name).symlink_to(ROOT / name)
    text = in_two_processes("broken_features", None, expected=1)
    assert "1 images between 64 and 127 have features of fashion128 that are not finite" in text
