"""`nextbasis score`: anyone's samples become a measured row of the tables."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from nextbasis.config import EvaluationConfig
from nextbasis.files import result_folder, sha256, write_json
from nextbasis.metrics.reference import Reference
from nextbasis.metrics.rules import check_rounding
from nextbasis.metrics.score import score_images
from nextbasis.metrics.sources import Source
from nextbasis.provenance import device, record
from nextbasis.tables.external import add_row, read_rows, slug
from nextbasis.tables.inputs import EXTERNAL

NAME = re.compile(r"[\w][\w .+/()-]*")
UNKNOWN = "not recorded: samples from outside"


def check_name(name: str, replace: bool) -> None:
    """Check that a row may be called so.

    Raises: ValueError if the name is unfit, or is there already and not to be replaced.
    """
    if not NAME.fullmatch(name) or not slug(name):
        raise ValueError(f"--as: '{name}' must be a name such as VAR-d30")
    taken = [other for other in read_rows() if slug(other) == slug(name)]
    if taken and not replace:
        raise ValueError(
            f"--as: {EXTERNAL} has a row '{taken[0]}' already; --replace takes its place"
        )


def score_samples(
    samples: Source,
    path: Path,
    labels: Int64[np.ndarray, " n"] | None,
    reference: Reference,
    config: EvaluationConfig,
    about: dict[str, str],
) -> dict[str, Any]:
    """The score, with what `about` tells (rounding, source) in its protocol.

    Raises: ValueError for bad images; all that can be known is checked before the first feature.
    """
    check_rounding(config, about["rounding"])
    score = score_images(samples, labels, reference, config, device())
    score["protocol"] |= {
        "weights": UNKNOWN,
        "sampler": UNKNOWN,
        "samples": path.name,
        "samples_file_sha256": sha256(path) if path.is_file() else "a folder; see samples_sha256",
        **about,
    }
    score["provenance"] = record(config)
    return score


def score_to_row(
    name: str,
    scale: str,
    samples: Source,
    path: Path,
    labels: Int64[np.ndarray, " n"] | None,
    reference: Reference,
    config: EvaluationConfig,
    about: dict[str, str],
) -> dict[str, str]:
    """Score, then write the score file and the row of config/external.yaml; what to print.

    Raises: ValueError as `score_samples` does; nothing is written then.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        score = score_samples(samples, path, labels, reference, config, about)
    target = result_folder(scale, "external", slug(name)) / "score.json"
    write_json(target, score)
    row = {
        "scale": scale,
        "score": str(target),
        "source": about["source"],
        "sha256": score["protocol"]["samples_sha256"],
    }
    add_row(name, row)
    shown = {key: f"{value:.6g}" for key, value in score["values"].items()}
    shown |= {f"warning {i}": str(w.message) for i, w in enumerate(caught, 1)}
    return shown | {"fid is": score["protocol"]["fid_is"], "score": str(target), "row": name}
