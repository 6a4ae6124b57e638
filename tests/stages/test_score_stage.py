"""Stages reference and score on made-up images: files, protocol, and how samples were made."""

from dataclasses import replace
from pathlib import Path

import pytest

from command import ROOT
from gpus import Gpu
from nextbasis.config import (
    ReconstructStage,
    ReferenceStage,
    SampleStage,
    ScoreStage,
    TokenizerStage,
    as_dict,
    compose,
)
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages
from nextbasis.stages import reconstruct, reference, score, tokenizer
from nextbasis.support.files import read_json, sha256, write_json
from nextbasis.support.provenance import config_hash
from nextbasis.tokenizers.patches.config import PatchesConfig
from scoring import write_samples

STAGES = load_stages(load_catalog())
SAMPLING = ["scale=cpu", "key=mar_b", "run=mar_b", "sampler=cpu/mar", "seed=0"]


def score_config(*overrides: str) -> ScoreStage:
    config: ScoreStage = compose("score", [*SAMPLING, "evaluation=cpu", *overrides])
    config.evaluation.num_reference = 200
    return config


CONFIG = score_config()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset and the samples of one evaluation, in a folder of their own."""
    sampling: SampleStage = compose("sample", SAMPLING)
    (tmp_path / "src").symlink_to(ROOT / "src")
    monkeypatch.chdir(tmp_path)
    write_samples(sampling)
    reference.main(
        ReferenceStage(reproducible=True, scale="cpu", key="", evaluation=CONFIG.evaluation)
    )
    return tmp_path / "results/cpu"


def test_stages_write_scores_that_carry_their_protocol(results: Path) -> None:
    floors = read_json(results / "reference/metrics.json")["scores"]
    fids = [floors[name]["fid"] for name in ("floor", "blur_0.5", "blur_0.8")]
    assert fids == sorted(fids) and fids[0] < floors["anchor"]["fid"]
    score.main(CONFIG)
    found = read_json(results / "score/mar_b/score.json")
    protocol = found["protocol"]
    assert protocol["sampler"]["num_iter"] == CONFIG.sampler.num_iter
    assert protocol["sampler_seed"] == 0 and protocol["per_class"] == {"min": 30, "max": 30}
    assert protocol["reference_sha256"] == sha256(results / "reference/statistics.npz")
    assert protocol["reference"] == "made-up, 400 training images"
    recorded = {"weights", "rounding", "dtype", "extractor_dtype", "device", "seed", "is_order"}
    recorded |= {"num_images", "fid_is", "samples_sha256", "extractor_sha256", "torch_fidelity"}
    assert recorded <= protocol.keys()


def test_scores_and_reconstructions_on_a_gpu_are_those_of_the_cpu(results: Path, gpu: Gpu) -> None:
    patches = PatchesConfig(kind="patches", encode_batch_size=50, downsample=4, latent_channels=16)
    settings = {"reproducible": True, "scale": "cpu", "key": "patches"}
    tokenizer.main(TokenizerStage(**settings, seed=0, tokenizer=patches))

    def made() -> tuple[dict[str, float], dict[str, float], bytes]:
        score.main(CONFIG)
        reconstruct.main(ReconstructStage(**settings, evaluation=CONFIG.evaluation))
        files = [results / "score/mar_b/score.json", results / "reconstruct/patches/score.json"]
        values = [read_json(path)["values"] for path in files]
        return values[0], values[1], (results / "reconstruct/patches/grid.png").read_bytes()

    here = made()
    with gpu(deterministic=True):
        there = made()
        assert read_json(results / "score/mar_b/score.json")["protocol"]["device"] == "cuda"
    for ours, theirs in zip(here[:2], there[:2], strict=True):
        assert ours["fid"] > 0 and ours.keys() == theirs.keys()
        for name, value in ours.items():
            near = pytest.approx(value or 0.0, rel=gpu.rounding * 1e-3, abs=1e-3)
            assert (theirs[name] or 0.0) == near, name  # no PSNR where nothing is lost
    assert gpu.rounding > 1 or there[2] == here[2]


@pytest.mark.parametrize(("key", "value"), [("seed", 1), ("run", "mar_l")])
def test_samples_of_another_seed_or_run_are_refused(results: Path, key: str, value: object) -> None:
    path = results / "sample/mar_b/metrics.json"
    with pytest.raises(ValueError, match="made by another sampler, seed or run than those given"):
        score.describe_sampling(replace(CONFIG, **{key: value}), path)


@pytest.mark.parametrize("key", ["mar_b", "mar_iter_klt_04", "rar_b_klt"])
def test_the_commands_of_sample_and_score_tell_the_same(key: str, tmp_path: Path) -> None:
    """The config that the score stage composes has the hash that the sample stage records."""
    told = {stage.name: stage.arguments for stage in STAGES if stage.key == key}
    sampling = compose("sample", told[f"sample-study@{key}"])
    write_json(tmp_path / "metrics.json", {"config_sha256": config_hash(sampling)})
    scoring: ScoreStage = compose("score", told[f"score-study@{key}"])
    found = score.describe_sampling(scoring, tmp_path / "metrics.json")
    assert found["sampler"] == as_dict(sampling.sampler)
