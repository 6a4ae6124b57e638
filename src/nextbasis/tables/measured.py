"""Measured numbers: what the pipeline's score, speed and training files say about each system."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nextbasis.pipeline.catalog import Catalog, Evals, evals_made, section, table_of
from nextbasis.pipeline.stagelist import address
from nextbasis.scoring.facts import METRICS, SCORES
from nextbasis.support.files import read_json, result_folder
from nextbasis.support.words import listed

COLUMNS = ["system", "seed", "metric", "value", "se", "num_images"]
COLUMNS += ["eval", "family", "budget", "samples", "processor"]
PROTOCOL = ("name", "extractor_sha256", "reference_sha256")  # equal or not comparable
SEED_SPREAD = "standard deviation over seeds"
STANDARD_ERROR = "standard error"
ANALYTIC = "analytic standard error of one seed"


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
        raise ValueError(f"{path} lacks {listed(lacking)}; delete it and rerun its stage")
    return score


def check_made(scale: str, evals: Evals) -> None:
    """Check that no more than one of these evaluations lacks its score; of one its reader tells.

    Raises: FileNotFoundError telling how many do, the first of them and what makes them.
    """
    paths = {key: result_folder(scale, "score", key) / "score.json" for key in evals}
    missing = [key for key, path in paths.items() if not path.is_file()]
    if len(missing) > 1:
        extra = " extra=true" if any(evals[key].get("extra") for key in missing) else ""
        raise FileNotFoundError(
            f"{len(missing)} of {len(evals)} evaluations that this needs are missing, the first of "
            f"them {paths[missing[0]]}; `snakemake --cores 2 --config scale={scale}{extra}` makes "
            f"them, and `nextbasis status --scale {scale}` tells how long that takes"
        )


def collect(catalog: Catalog, scale: str, systems: Iterable[str]) -> pd.DataFrame:
    """One row per system, seed and metric: value, standard error (NaN if unknown), and its run's.

    These are num_images (sampled), eval, family, budget (of its training), samples, the hash of
    what was sampled, and processor, which timed the sampling; both empty where no file tells.

    Raises: FileNotFoundError for a result that the scale has but that was not made;
    ValueError if evaluations differ in protocol, or one system's in number of images, in budget or
    by a seed that is there twice.
    """
    rows: list[dict[str, Any]] = []
    protocols: dict[tuple[str, ...], str] = {}
    part = section(catalog, scale)
    evals = {system: evals_made(catalog, scale, system) for system in systems}
    check_made(scale, {key: entry for found in evals.values() for key, entry in found.items()})
    for system, entries in evals.items():
        seeds = [entry["seed"] for entry in entries.values()]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{scale}.evals: system '{system}' has one seed twice: {seeds}")
        for key, entry in entries.items():
            found = read_score(scale, "score", key)
            protocols.setdefault(tuple(str(found["protocol"][name]) for name in PROTOCOL), key)
            rows += _rows(scale, part, key, entry, found, system)
    if len(protocols) > 1:
        raise ValueError(
            f"the scores of {listed(protocols.values(), ' and ')} cannot be compared: they differ "
            f"in {', '.join(PROTOCOL)}; run `dvc repro` on both"
        )
    frame = pd.DataFrame(rows, columns=COLUMNS)
    for name, group in frame.groupby("system"):
        if group["num_images"].nunique() > 1:
            raise ValueError(
                f"{scale}.evals: system '{name}' is sampled with different numbers of images, "
                f"{sorted(group['num_images'].unique().tolist())}; FID depends on it"
            )
        if group["budget"].nunique() > 1:
            raise ValueError(
                f"{scale}.evals: the seeds of system '{name}' were trained by different budgets: "
                f"{listed(sorted(group['budget'].unique()), '; ')}; run `dvc repro` on all"
            )
    return frame


def check_budgets(frame: pd.DataFrame, catalog: Catalog, table: str) -> None:
    """Check that all systems of a family in a table were trained by one budget.

    In a table that varies the budget, that each was by the steps which its row is labelled with.
    Raises: ValueError naming the table, systems and their budgets.
    """
    found = table_of(catalog, table)
    if found.get("varies") == "budget":
        budgets = dict(zip(frame["system"], frame["budget"], strict=True))
        for row in found["rows"]:
            trained = budgets.get(row["system"])
            if trained and not trained.endswith(f" in {float(row['label']):,.0f} steps"):
                raise ValueError(
                    f"tables.{table}: the label of the row '{row['label']}' of '{row['group']}' "
                    f"must be the steps of {row['system']}, which was trained on {trained}"
                )
        return
    for _, group in frame.groupby("family"):
        first = group.drop_duplicates("budget")
        if len(first) > 1:
            sides = " and ".join(
                f"{system} ({budget})"
                for system, budget in zip(first["system"], first["budget"], strict=True)
            )
            raise ValueError(
                f"tables.{table}: {sides} cannot stand in one table: they were trained by "
                "different budgets; run `dvc repro` on both, or give them a table each"
            )


def _rows(
    scale: str,
    part: dict[str, Any],
    key: str,
    entry: dict[str, Any],
    score: dict[str, Any],
    system: str,
) -> list[dict[str, Any]]:
    run, protocol = entry["run"], score["protocol"]
    speed = result_folder(scale, "sample", key) / "speed.json"
    training = result_folder(scale, "train", run) / "metrics.json"
    geneval = result_folder(scale, "geneval", key) / "score.json"
    trained = read_result(training, scale, "train", run)
    held_out = result_folder(scale, "heldout", run) / "metrics.json"
    measured = run in part.get("heldouts", {})
    results = {
        "score": score["values"],
        "sample": read_result(speed, scale, "sample", key),
        "train": trained | trained.get("basis", {}),
        "heldout": read_result(held_out, scale, "heldout", run) if measured else {},
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
                "num_images": protocol["num_images"],
                "eval": key,
                "family": part["runs"][run]["family"],
                "budget": f"{trained['images_seen']:,} images in {trained['steps']:,} steps",
                "samples": protocol.get("samples_sha256", ""),
                "processor": results["sample"].get("processor", ""),
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
