"""Score the samples of one evaluation: FID with standard error, IS, precision, recall, KID.

Processes (torchrun's) share the images; how many there are changes nothing.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

from nextbasis.config import SampleStage, ScoreStage, as_dict
from nextbasis.data.arrays import open_samples
from nextbasis.scoring.reference import load_reference
from nextbasis.scoring.rules import check_rounding
from nextbasis.scoring.score import score_images
from nextbasis.stages import run
from nextbasis.support import processes
from nextbasis.support.files import read_json, result_folder, staged_folder, write_json
from nextbasis.support.provenance import config_hash, device, record

FROM_SAMPLING = ("rounding", "weights", "dtype")  # of the protocol, decided by the sample stage


def main(config: ScoreStage) -> None:
    """Write results/<scale>/score/<key>/score.json."""
    source = result_folder(config.scale, "sample", config.key)
    samples, labels = open_samples(source)
    sampling = describe_sampling(config, source / "metrics.json")
    check_rounding(config.evaluation, sampling["rounding"])
    reference = load_reference(result_folder(config.scale, "reference"), config.evaluation)
    score = score_images(samples, labels, reference, config.evaluation, device())
    if processes.rank() > 0:
        return
    score["protocol"] |= sampling
    score["provenance"] = record(config)
    with staged_folder(result_folder(config.scale, "score", config.key)) as folder:
        write_json(folder / "score.json", score)


def describe_sampling(config: ScoreStage, path: Path) -> dict[str, Any]:
    """How the samples were made: weights, rounding, number format, sampler and seed.

    Raises: ValueError if the samples at hand were made by another config than this one.
    """
    made = read_json(path)
    told = SampleStage(**{part.name: getattr(config, part.name) for part in fields(SampleStage)})
    if made.get("config_sha256") != config_hash(told):
        raise ValueError(
            f"{path}: these samples were made by another sampler, seed or run than those given "
            f"(run={config.run}, seed={config.seed}); rerun the sample stage"
        )
    found = {name: made.get(name, "not recorded") for name in FROM_SAMPLING}
    return found | {"sampler": as_dict(config.sampler), "sampler_seed": config.seed}


if __name__ == "__main__":
    run("score", main, __doc__)
