"""Two processes, started by torchrun and joined by Gloo, against one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from builders import basis_config, model_config, train_config, train_stage
from command import ROOT
from nextbasis.config import ReferenceStage, SampleStage, ScoreStage, TrainStage, compose
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import reference, score, train
from nextbasis.support.files import read_json, result_folder
from nextbasis.training.trainer import Trainer
from scoring import write_samples
from tokens_at_hand import write_tokens
from two_processes import in_two_processes

pytestmark = pytest.mark.slow
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}  # of float32 sums in another order
FAMILIES, KINDS = ("mar", "xar", "rar"), ("ddp", "fsdp")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stage(family: str, key: str = "run", **changes: Any) -> TrainStage:
    learned = {"learned": True, "objective": "r0", "projection": "soft", "delta": 1e-4, "lr": 1e-2}
    return train_stage(
        model_config(family),
        basis_config(**{} if family == "rar" else learned),
        train_config(**{"steps": 8, "batch_size": 8, "lr": 1e-3} | changes),
        key=key,
        tokens="ids" if family == "rar" else "tokens",
    )


@pytest.fixture(scope="module")
def one_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tokens and ids where two processes have made a step of every training."""
    folder = tmp_path_factory.mktemp("steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_tokens(True)
        Path("results/test/tokens/tokens").rename("results/test/tokens/ids")
        write_tokens(False)
        configs = [stage(family, f"{family}-{p}", parallel=p) for family in FAMILIES for p in KINDS]
        in_two_processes(configs, "one_step")
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_one_process(family: str, one_step: Path) -> None:
    config = stage(family)
    single = Trainer(config, TokenCache(one_step / result_folder("test", "tokens", config.tokens)))
    single.advance()
    single.read()
    for parallel in KINDS:
        found = torch.load(one_step / f"step-{family}-{parallel}.pt")
        for name, parameter in single.generator.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(found["gradients"][name], parameter.grad, **TOLERANCE)
        for name, value in single.values[0].items():
            assert found["values"][0][name] == pytest.approx(value, rel=1e-4), name
        first, second = (torch.load(one_step / f"basis-{family}-{parallel}-{i}.pt") for i in (0, 1))
        assert torch.equal(first, second)
        torch.testing.assert_close(first, single.learned_basis(), **TOLERANCE)


def test_trainings_stopped_in_two_processes_go_on_in_one_and_in_two() -> None:
    """Each way of sharing; the last training cannot be shared, and says so in both processes."""
    write_tokens(False)
    adan = {"parallel": "fsdp", "optimizer": "adan", "beta3": 0.99}
    ways = {p: {"parallel": p} for p in KINDS} | {"adan": adan}
    # SIGTERM saves.
    configs = [stage("mar", key, checkpoint_minutes=60.0, **way) for key, way in ways.items()]
    single, in_one, in_two = {}, {}, {}
    for config in configs:
        train.main(config)
        single |= weights_of(config)
    text = in_two_processes(configs, "stopped", expected=1)
    assert text.count("stopped at step 5 of 8; run it again to go on") == 3 and "143" in text
    kept = {path: path.read_bytes() for path in Path("scratch").rglob("*.pt")}
    assert len(kept) == 3
    for config in configs:
        train.main(config)
        in_one |= weights_of(config)
    for path, content in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    text = in_two_processes([*configs, stage("mar", batch_size=7)], "whole_training", expected=1)
    assert text.count("resuming at step 5 of 8") == 3
    assert text.count("train.batch_size must be a multiple of the 2 processes, got 7") >= 2
    for config in configs:
        assert read_json(folder_of(config) / "metrics.json")["processes"] == 2
        in_two |= weights_of(config)
    assert set(single) == set(in_one) == set(in_two)
    for name, value in single.items():  # Adam turns a rounded gradient near 0 into a small step
        torch.testing.assert_close(in_one[name], value, rtol=1e-2, atol=2e-4, msg=name)
        torch.testing.assert_close(in_two[name], value, rtol=1e-2, atol=2e-4, msg=name)


def folder_of(config: TrainStage) -> Path:
    return result_folder("test", "train", config.key)


def weights_of(config: TrainStage) -> dict[str, torch.Tensor]:
    """What a training has left, which is taken away."""
    path = folder_of(config) / "model.safetensors"
    found = load_file(path)
    path.unlink()
    return {f"{config.key}.{name}": value for name, value in found.items()}


def test_scores_of_two_processes_are_those_of_one() -> None:
    """Afterwards, features of the second process that are not finite are named."""
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
    text = in_two_processes(config, "scoring", "broken_features", expected=1)
    assert read_json(path) == single  # values, protocol and provenance, to the last bit
    assert [other.name for other in path.parent.iterdir()] == ["score.json"]
    assert "1 images between 64 and 127 have features of fashion128 that are not finite" in text
