"""`nextbasis score`: anyone's samples become a measured row of the tables."""

import argparse
import re
from pathlib import Path
from typing import Any

from nextbasis.commands.arguments import add_protocol, check_text, num_classes, read_path
from nextbasis.commands.report import collected_warnings, print_report
from nextbasis.support.files import as_text, result_folder, write_json
from nextbasis.tables.inputs import EXTERNAL

EXAMPLE = 'nextbasis score samples.npz --reference statistics.npz --as "VAR-d30"'
NAME = re.compile(r"[\w][\w .+/()-]*")
LONGEST = 200  # bytes of a name, which is a folder's too
NOT_RECORDED = "not recorded"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "score",
        help="score anyone's samples: they become a row of the tables",
        description="Score images in a .npy or .npz file (arr_0, uint8, NHWC) or a folder of "
        "images, read in natural order (2.png before 10.png, below it and through links too), "
        "and add them to config/external.yaml: tables then show them as measured, in the row of "
        "that name (its label or the last part of its published reference) or in a row of their "
        "own. Everything that can be known is checked before the first image is scored.",
        epilog=f"Example: {EXAMPLE}",
    )
    command.add_argument("samples", metavar="SAMPLES", type=read_path)
    command.add_argument(
        "--reference",
        metavar="PATH",
        type=read_path,
        required=True,
        help="file with mu and sigma (of ADM or MAR), or a folder with statistics.npz",
    )
    command.add_argument("--as", dest="name", metavar="NAME", required=True, help="of the row")
    command.add_argument("--source", default="", help="who made the samples, and how; printed")
    command.add_argument(
        "--rounding",
        choices=("round", "truncate", NOT_RECORDED),
        default=NOT_RECORDED,
        help="how pixels became bytes; checked against the protocol",
    )
    command.add_argument("--replace", action="store_true", help="a row of that name that is there")
    add_protocol(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Score, then write the score file and the row of config/external.yaml; nothing if it fails."""
    from nextbasis.scoring import brought
    from nextbasis.scoring.samples import open_source

    classes = num_classes(given)  # first: it knows the scale
    config = brought.choose_evaluation(given.scale, given.protocol, given.weights)
    labels = brought.read_labels(given.labels)
    _check_name(given.name, given.replace)
    check_text("--source", given.source)
    samples = open_source(given.samples)
    reference = brought.open_reference(given.reference, config, classes)
    _check_classes(given.classes, reference.index["num_classes"])
    about = {"rounding": given.rounding, "source": given.source or as_text(given.samples)}
    with collected_warnings() as warned:
        score = brought.score(samples, given.samples, labels, reference, config, about)
    target = _write_row(given.name, given.scale, score)
    shown = {key: f"{value:.6g}" for key, value in score["values"].items()}
    shown |= warned | {
        "fid is": score["protocol"]["fid_is"],
        "score": str(target),
        "row": given.name,
        "the row alone": f"python -m nextbasis.tables --scale {given.scale} --outside",
    }
    shown |= _number(score["protocol"]["num_images"], given.scale)
    shown |= _tables(given.name, given.scale)
    print_report(shown)
    return 0


def _check_name(name: str, replace: bool) -> None:
    """Check that a row may be called so.

    Raises: ValueError if the name is unfit, or is there already and not to be replaced.
    """
    from nextbasis.tables.external import read_rows, slug

    if not NAME.fullmatch(name) or not slug(name):
        raise ValueError(f"--as: '{name}' must be a name such as VAR-d30")
    if (size := max(len(text.encode()) for text in (name, slug(name)))) > LONGEST:
        raise ValueError(f"--as must be a name of at most {LONGEST} bytes, got {size}")
    taken = [other for other in read_rows() if slug(other) == slug(name)]
    if taken and not replace:
        raise ValueError(
            f"--as: {EXTERNAL} has a row '{taken[0]}' already; --replace takes its place"
        )


def _check_classes(given: int, found: int) -> None:
    """Check that `--classes`, where it is given, is the reference's number.

    Raises: ValueError naming both.
    """
    if given not in (0, found):
        raise ValueError(f"--classes is {given}, and the reference is of {found} classes")


def _number(found: int, scale: str) -> dict[str, str]:
    """A warning if a row is of another number of images than the scale's own, or nothing."""
    from nextbasis.pipeline.catalog import load_catalog, section

    evals = section(load_catalog(), scale)["evals"].values()
    own = sorted({entry["images"] for entry in evals if entry.get("headline")})
    if found in own or not own:
        return {}
    numbers = " and ".join(f"{number:,}" for number in own)
    return {
        "compare with care": f"the row is of {found:,} images, this scale's own are of {numbers}; "
        "FID is biased upwards, the more the fewer images"
    }


def _tables(name: str, scale: str) -> dict[str, str]:
    """Which tables of a scale show the row, and how to make them, unless that trains something."""
    from nextbasis.pipeline.catalog import load_catalog
    from nextbasis.tables.external import fits, load, place
    from nextbasis.tables.inputs import tables_of
    from nextbasis.tables.sofar import so_far, waiting

    catalog, own = load_catalog(), [row for row in load(scale) if row.name == name]
    tables = {table: catalog["tables"][table] for table in tables_of(catalog, scale, extra=True)}
    shown = [
        table
        for table, entry in tables.items()
        if entry["kind"] == "systems" and any(place(catalog, scale, entry, own))
    ]
    if not shown:
        rows = [row for entry in tables.values() for row in entry["rows"]]
        if any("label" in row and fits(own[0], row) for row in rows):
            return {"tables": f"none: this scale measures {name} itself; another --as shows both"}
        return {"tables": "none: this scale's have no rows of other people's systems"}
    names = ", ".join(shown)
    if first := waiting(so_far(catalog, scale), scale):
        return {"tables": f"{names}; {len(first)} systems of the scale are to be made first"}
    return {
        "tables": names,
        "all of the scale": f"snakemake --cores 2 --config scale={scale}",
    }


def _write_row(name: str, scale: str, score: dict[str, Any]) -> Path:
    """Write a score's file, which is returned, and the row that names it."""
    from nextbasis.tables.external import add_row, slug

    target = result_folder(scale, "external", slug(name)) / "score.json"
    write_json(target, score)
    row = {
        "scale": scale,
        "score": str(target),
        "source": score["protocol"]["source"],
        "sha256": score["protocol"]["samples_sha256"],
    }
    add_row(name, row)
    return target
