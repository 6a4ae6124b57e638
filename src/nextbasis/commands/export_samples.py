"""`nextbasis export-samples`: samples of an evaluation as other evaluation programs read them."""

import argparse
from pathlib import Path
from typing import Any

from nextbasis.commands.arguments import add_scale, read_path
from nextbasis.commands.report import print_report
from nextbasis.support.files import check_new, result_folder, sha256, write_atomic

EXAMPLE = "nextbasis export-samples xar_b_bar samples.npz"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "export-samples",
        help="write an evaluation's samples as ADM's evaluation program reads them",
        description="Write samples as arr_0 of a .npz file in a seeded permutation, never sorted "
        "by class.",
    )
    command.add_argument("key", metavar="EVALUATION", help="an entry of evals in the catalog")
    command.add_argument("out", metavar="OUT", type=read_path, help="file to write; must not exist")
    add_scale(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Write `arr_0` (uint8, NHWC), as ADM's program reads it, and the labels.

    In the seeded order in which the pipeline scores them, never in order of class: ADM's program
    splits a file for IS as it stands, and parts of few classes each would score far too low.

    Raises: FileNotFoundError or ValueError naming the file, the evaluation or the scale.
    """
    import numpy as np

    from nextbasis.config import compose
    from nextbasis.data.arrays import open_samples
    from nextbasis.pipeline.catalog import evaluation_of, load_catalog
    from nextbasis.scoring.rules import permutation

    out, scale = given.out, given.scale
    check_new(out)
    evaluation_of(load_catalog(), scale, given.key)
    if out.suffix != ".npz":
        raise ValueError(f"{out} must end in .npz")
    images, labels = open_samples(result_folder(scale, "sample", given.key))
    seed = compose("reference", [f"scale={scale}", f"evaluation={scale}"]).evaluation.seed
    order = permutation(len(images), seed)

    def write(path: Path) -> None:
        np.savez(path, arr_0=images[order], labels=labels[order])

    write_atomic(out, write)
    report = {"written": str(out), "images": str(len(images))}
    report |= {"order": f"permuted by seed {seed}", "sha256": sha256(out)}
    print_report(report)
    return 0
