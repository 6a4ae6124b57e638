"""Measured numbers: what the pipeline's score, speed and training files say about each system."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nextbasis.pipeline.catalog import Catalog, evals_of
from nextbasis.pipeline.stagelist import address
from nextbasis.scoring.facts import METRICS, SCORES
from nextbasis.support.files import read_json, result_folder

PROTOCOL = ("name", "extractor_sha256", "reference_sha256")  # equal or not comparable
SEED_SPREAD = "standard deviation over seeds"
ANALYTIC = "analytic standard error of one seed"
UNDECIDED = "undecided"
MIN_SEEDS = 3  # of a comparison of two trainings


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; `spread` is what `kind` says and NaN where nothing is known about it."""

    value: float
    spread: float
    kind: str
    num_seeds: int
    num_images: int


def read_result(path: Path, scale: str, kind: str, key: str) -> Any:
    """Read one result file.

    Raises: FileNotFoundError naming the file and the command that makes it.
    """
    if not path.is_file():
        stage = address(kind, scale, key)
        raise FileNotFoundError(f"{path} is missing; `dvc repro {stage}` makes it")
    return read_json(path)


def read_score(scale: str, kind: str, key: str) -> dict[str, Any]:
    """Read a score file and check that it holds every score that is not optional.

    Raises: FileNotFoundError; ValueError naming the file and what it lacks.
    """
    path = result_folder(scale, kind, key) / "score.json"
    score = read_result(path, scale, kind, key)
    needed = [metric for metric in SCORES if not metric.optional]
    needed_keys = [metric.name for metric in needed]
    needed_keys += [metric.error for metric in needed if metric.error]
    lacking = [key for key in needed_keys if key not in score.get("values", {})]
    lacking += [name for name in PROTOCOL if name not in score.get("protocol", {})]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(lacking)}; delete it and rerun its stage")
    return score


def collect(catalog: Catalog, scale: str, systems: Iterable[str]) -> pd.DataFrame:
    """One row per system, seed and metric: value, standard error (NaN if unknown), images, eval.

    Raises: FileNotFoundError for an evaluation that the scale has but that was not made;
    ValueError if evaluations differ in protocol, or one system's in number of images or by a seed
    that is there twice.
    """
    rows: list[dict[str, Any]] = []
    protocols: dict[tuple[str, ...], str] = {}
    for system in systems:
        entries = evals_of(catalog, scale, system)
        seeds = [entry["seed"] for entry in entries.values()]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{scale}.evals: system '{system}' has one seed twice: {seeds}")
        for key, entry in entries.items():
            found = read_score(scale, "score", key)
            protocols.setdefault(tuple(str(found["protocol"][name]) for name in PROTOCOL), key)
            rows += _rows(scale, key, entry, found, system)
    if len(protocols) > 1:
        raise ValueError(
            f"the scores of {' and '.join(protocols.values())} cannot be compared: they differ in "
            f"{', '.join(PROTOCOL)}; run `dvc repro` on both"
        )
    columns = ["system", "seed", "metric", "value", "se", "num_images", "eval"]
    frame = pd.DataFrame(rows, columns=columns)
    for name, group in frame.groupby("system"):
        if group["num_images"].nunique() > 1:
            raise ValueError(
                f"{scale}.evals: system '{name}' is sampled with different numbers of images, "
                f"{sorted(group['num_images'].unique().tolist())}; FID depends on it"
            )
    return frame


def _rows(
    scale: str, key: str, entry: dict[str, Any], score: dict[str, Any], system: str
) -> list[dict[str, Any]]:
    run = entry["run"]
    speed = result_folder(scale, "sample", key) / "speed.json"
    training = result_folder(scale, "train", run) / "metrics.json"
    geneval = result_folder(scale, "geneval", key) / "score.json"
    results = {
        "score": score["values"],
        "sample": read_result(speed, scale, "sample", key),
        "train": read_result(training, scale, "train", run),
        # Made outside, see `nextbasis geneval`.
        "geneval": read_json(geneval)["values"] if geneval.is_file() else {},
    }
    rows = []
    for name, metric in METRICS.items():
        values, place = results[metric.stage], metric.key or name
        if metric.optional and place not in values:
            continue
        rows.append(
            {
                "system": system,
                "seed": entry["seed"],
                "metric": name,
                "value": float(values[place]),
                "se": values[metric.error] if metric.error else math.nan,
                "num_images": score["protocol"]["num_images"],
                "eval": key,
            }
        )
    return rows


def estimate(frame: pd.DataFrame, system: str, metric: str) -> Estimate | None:
    """Mean and spread over the seeds of one system; None where it was not measured."""
    rows = frame[(frame["system"] == system) & (frame["metric"] == metric)]
    if rows.empty:
        return None
    num_seeds = len(rows)
    if METRICS[metric].varies == "never":
        spread, kind = math.nan, ""
    elif num_seeds > 1:
        spread, kind = float(rows["value"].std(ddof=1)), SEED_SPREAD
    else:
        spread = float(rows["se"].iloc[0])
        kind = "" if math.isnan(spread) else ANALYTIC
    return Estimate(
        value=float(rows["value"].mean()),
        spread=spread,
        kind=kind,
        num_seeds=num_seeds,
        num_images=int(rows["num_images"].iloc[0]),
    )


def decided(difference: float, error: float) -> bool:
    """Whether a difference is at least two of its standard errors."""
    return abs(difference) >= 2 * error


def verdict(gain: Estimate | None, metric: str) -> str:
    """What a difference between two trainings says; empty where nothing was measured."""
    if gain is None:
        return ""
    if gain.num_seeds < MIN_SEEDS:
        return f"{UNDECIDED}: {gain.num_seeds} of {MIN_SEEDS} seeds"
    if not decided(gain.value, gain.spread):
        return UNDECIDED
    better = "↓" if gain.value < 0 else "↑"
    return "better" if METRICS[metric].arrow == better else "worse"


def paired_difference(
    frame: pd.DataFrame, baseline: str, system: str, metric: str
) -> Estimate | None:
    """System minus baseline, seed by seed: mean and standard error of the mean over seeds.

    With one common seed the spread joins the two analytic standard errors as if independent,
    which exaggerates it where noise is shared. None where either was not measured.
    Raises: ValueError if there are seeds of both but none in common.
    """
    sides = []
    for name, suffix in ((baseline, "_a"), (system, "_b")):
        rows = frame[(frame["system"] == name) & (frame["metric"] == metric)]
        if rows.empty:
            return None
        columns = rows.set_index("seed")[["value", "se", "num_images"]]
        sides.append(columns.add_suffix(suffix))
    both = sides[0].join(sides[1], how="inner")
    if both.empty:
        raise ValueError(
            f"{baseline} and {system} have no seed in common: {sorted(sides[0].index)} and "
            f"{sorted(sides[1].index)}; a paired difference needs one"
        )
    if (both["num_images_a"] != both["num_images_b"]).any():
        raise ValueError(f"{baseline} and {system} are sampled with different numbers of images")
    difference = both["value_b"] - both["value_a"]
    if len(both) > 1:
        spread, kind = float(difference.std(ddof=1)) / math.sqrt(len(both)), "standard error"
    else:
        spread, kind = math.hypot(both["se_a"].iloc[0], both["se_b"].iloc[0]), ANALYTIC
    return Estimate(
        value=float(difference.mean()),
        spread=spread,
        kind=kind,
        num_seeds=len(both),
        num_images=int(both["num_images_a"].iloc[0]),
    )
