"""Score the samples of one evaluation: FID with standard error, IS, precision, recall."""

import numpy as np

from nextbasis.config import ScoreStage
from nextbasis.data.arrays import open_array
from nextbasis.files import read_json, result_folder, staged_folder, write_json
from nextbasis.launch import run
from nextbasis.metrics.score import score_images
from nextbasis.provenance import device, record

FROM_SAMPLING = ("rounding", "weights", "dtype")  # of the protocol, decided by the sample stage


def main(config: ScoreStage) -> None:
    """Write results/<scale>/score/<key>/score.json."""
    source = result_folder(config.scale, "sample", config.key)
    samples = open_array(source / "samples.npy", np.uint8, (None, None, None, None))
    labels = open_array(source / "labels.npy", np.int64, (len(samples),))
    made = read_json(source / "metrics.json")
    score = score_images(
        samples, labels, result_folder(config.scale, "reference"), config.evaluation, device()
    )
    score["protocol"] |= {name: made.get(name, "not recorded") for name in FROM_SAMPLING}
    score["provenance"] = record(config)
    with staged_folder(result_folder(config.scale, "score", config.key)) as folder:
        write_json(folder / "score.json", score)


if __name__ == "__main__":
    run("score", main, __doc__)
