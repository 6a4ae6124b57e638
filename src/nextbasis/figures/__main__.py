"""Draw the figures of one scale: a plain rule, not a DVC stage."""

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from safetensors.numpy import load_file

from nextbasis.figures import basis_plots, forest, plots
from nextbasis.pipeline.catalog import (
    Catalog,
    evals_of,
    load_catalog,
    section,
    standard_evals,
)
from nextbasis.pipeline.stagelist import address
from nextbasis.support.endings import in_one_line
from nextbasis.support.files import read_json, result_folder
from nextbasis.tables import published
from nextbasis.tables.inputs import FIGURES, PUBLISHED, basis_runs
from nextbasis.tables.measured import check_made, collect, estimate, read_score


def systems(catalog: Catalog, scale: str) -> list[str]:
    """Every system that the scale evaluates, in the catalog's order."""
    evals = standard_evals(catalog, scale).values()
    return list(dict.fromkeys(entry["system"] for entry in evals))


def read_curves(catalog: Catalog, scale: str) -> list[plots.Curve]:
    """The curves of every evaluated run.

    Raises: FileNotFoundError naming the file and the command that makes it.
    """
    part = section(catalog, scale)
    curves = []
    for entry in standard_evals(catalog, scale).values():
        run = entry["run"]
        path = _existing(result_folder(scale, "train", run) / "metrics.csv", scale, "train", run)
        curves.append(plots.Curve(part["runs"][run]["family"], entry["system"], pd.read_csv(path)))
    return curves


def read_bases(catalog: Catalog, scale: str) -> list[plots.BasisMap]:
    """A and the host's order of every system whose basis is not the identity."""
    bases = []
    for system, run in basis_runs(catalog, scale).items():
        folder = result_folder(scale, "train", run)
        tensors = load_file(_existing(folder / "model.safetensors", scale, "train", run))
        bases.append(plots.BasisMap(system, tensors["basis"], tensors["host_order"]))
    return bases


def read_diagnoses(catalog: Catalog, scale: str) -> list[basis_plots.Diagnosed]:
    """What the diagnose stage measured of every basis that the scale diagnoses."""
    found = []
    for key, entry in section(catalog, scale).get("diagnoses", {}).items():
        path = result_folder(scale, "diagnose", key) / "metrics.json"
        values = read_json(_existing(path, scale, "diagnose", key))
        found.append(basis_plots.Diagnosed(key, entry["family"], entry["tokens"], values))
    return found


def read_points(catalog: Catalog, scale: str) -> list[plots.Point]:
    """Measured FID of every system of the scale, and what the tables quote as published."""
    names = systems(catalog, scale)
    frame = collect(catalog, scale, names)
    quoted = _quoted(catalog, scale)
    points = []
    for name in names:
        found = estimate(frame, name, "fid")
        assert found is not None
        seeds = frame[(frame["system"] == name) & (frame["metric"] == "fid")]["value"].tolist()
        numbers = sorted(quoted.get(name, set()))
        points.append(plots.Point(name, seeds, found.value, found.spread, numbers))
    return points


def _quoted(catalog: Catalog, scale: str) -> dict[str, set[float]]:
    numbers = published.load(PUBLISHED)
    quoted: dict[str, set[float]] = {}
    for table in catalog["tables"].values():
        for row in table["rows"]:
            for system, references in (
                (row.get("system"), row.get("published")),
                (row.get("baseline"), row.get("published_baseline")),
            ):
                if system is None or references is None:
                    continue
                number = published.look_up(numbers, references, "fid")
                for entry in evals_of(catalog, scale, system).values():
                    if number:
                        quoted.setdefault(entry["system"], set()).add(number.value)
    return quoted


def read_pictures(catalog: Catalog, scale: str) -> list[tuple[str, np.ndarray]]:
    """The sample grid of each system's first seed, with system and FID as caption."""
    pictures = []
    for system in systems(catalog, scale):
        entries = evals_of(catalog, scale, system)
        key = min(entries, key=lambda name: entries[name]["seed"])
        folder = result_folder(scale, "sample", key)
        with Image.open(_existing(folder / "grid.png", scale, "sample", key)) as image:
            picture = np.asarray(image)
        fid = read_score(scale, "score", key)["values"]["fid"]
        pictures.append((f"{key}, FID {fid:.2f}", picture))
    return pictures


def read_comparisons(scale: str) -> pd.DataFrame:
    """What the ledger says of every comparison of the claims.

    Raises: FileNotFoundError naming the file and the command that makes it.
    """
    path = result_folder(scale, "claims") / "comparisons.csv"
    if not path.is_file():
        command = f"python -m nextbasis.claims --scale {scale}"
        raise FileNotFoundError(f"{path} is missing; `{command}` makes it")
    return pd.read_csv(path)


def _existing(path: Path, scale: str, kind: str, key: str) -> Path:
    if not path.is_file():
        stage = address(kind, scale, key)
        raise FileNotFoundError(f"{path} is missing; `dvc repro {stage}` makes it")
    return path


def draw(catalog: Catalog, scale: str, folder: Path, only: Sequence[str] = ()) -> None:
    """Write every figure of one scale into `folder`, or those that are named, each from its files.

    Raises: FileNotFoundError naming what was not made, and the command that makes it.
    """
    if not only:
        check_made(scale, standard_evals(catalog, scale))
    curves = cache(lambda: read_curves(catalog, scale))
    diagnosed = cache(lambda: read_diagnoses(catalog, scale))

    def overview() -> Figure:
        tokenizers = section(catalog, scale)["tokenizers"]
        scores = {name: read_score(scale, "reconstruct", name) for name in tokenizers}
        floors = {name: score["values"]["fid"] for name, score in scores.items()}
        return plots.fid_overview(read_points(catalog, scale), floors)

    makers: dict[str, Callable[[], Figure]] = {
        "claims.png": lambda: forest.forest(read_comparisons(scale)),
        "loss_curves.png": lambda: plots.loss_curves(curves()),
        "basis_maps.png": lambda: plots.basis_maps(read_bases(catalog, scale)),
        "singular_values.png": lambda: plots.basis_curves(
            [curve for curve in curves() if "sigma_min" in curve.frame]
        ),
        "energy_profile.png": lambda: basis_plots.energy_profile(diagnosed()),
        "smuggling.png": lambda: basis_plots.smuggling(diagnosed()),
        "klt_overlap.png": lambda: basis_plots.klt_overlap(diagnosed()),
        "fid_overview.png": overview,
        "contact_sheet.png": lambda: plots.contact_sheet(read_pictures(catalog, scale)),
    }
    assert tuple(makers) == FIGURES
    plots.save({name: makers[name] for name in only or FIGURES}, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and draw; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser(prog="python -m nextbasis.figures", description=__doc__)
    parser.add_argument("--scale", default="cpu", help="a folder of config/scales")
    parser.add_argument("--out", type=Path, help="folder; default: results/SCALE/figures")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=FIGURES,
        metavar="FIGURE",
        help=f"one figure, repeatable, of a scale half done too: {', '.join(FIGURES)}",
    )
    options = parser.parse_args(arguments)
    with in_one_line():
        folder = options.out or result_folder(options.scale, "figures")
        draw(load_catalog(), options.scale, folder, options.only)


if __name__ == "__main__":
    main()
