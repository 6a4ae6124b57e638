"""`nextbasis compare`: two samplers of one checkpoint, image by image on the same noise."""

import argparse
import math
from typing import TYPE_CHECKING, Any

from nextbasis.commands.arguments import add_scale
from nextbasis.commands.report import print_report
from nextbasis.pipeline.catalog import Catalog, evaluation_of, load_catalog
from nextbasis.support.files import result_folder

if TYPE_CHECKING:
    from nextbasis.scoring.paired import Samples

RATE = 0.05  # of false verdicts
EXAMPLE = "nextbasis compare mar_iter_learned_04 mar_iter_learned_08"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "compare",
        help="FID difference of two samplers of one checkpoint, with its paired error",
        description="Compare two evaluations of the same run, seed and number of images. Their "
        "images share labels and noise, so their difference is known far better than each FID.",
    )
    command.add_argument("first", metavar="FIRST", help="an entry of evals in the catalog")
    command.add_argument("second", metavar="SECOND")
    add_scale(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Print the FID of the second evaluation minus that of the first, with its paired error.

    Raises: ValueError unless both sample one run with the same seed and labels;
    FileNotFoundError for samples that were not made.
    """
    from nextbasis.claims.effects import Effect, half_width
    from nextbasis.claims.verdict import UNDECIDED
    from nextbasis.config import compose
    from nextbasis.scoring.paired import paired_distances
    from nextbasis.scoring.reference import load_reference

    scale, first, second = given.scale, given.first, given.second
    check_pair(load_catalog(), scale, first, second)
    config = compose("reference", [f"scale={scale}", f"evaluation={scale}"]).evaluation
    reference = load_reference(result_folder(scale, "reference"), config)
    one, two, error = paired_distances(_open(scale, first), _open(scale, second), reference, config)
    difference = two - one
    half = half_width(Effect(difference, error, math.inf, 1, "paired by image"), RATE)
    verdict = "better" if difference < 0 else "worse"
    report = {
        f"FID {first}": f"{one:.4f}",
        f"FID {second}": f"{two:.4f}",
        "difference": f"{difference:+.4f} ± {error:.4f} (paired standard error)",
        "verdict": verdict if abs(difference) > half else UNDECIDED,
    }
    print_report(report)
    return 0


def check_pair(catalog: Catalog, scale: str, first: str, second: str) -> None:
    """Check that two evaluations share run, seed and number of images.

    Raises: ValueError naming what differs; two trainings are compared over seeds by the tables.
    """
    pair = [evaluation_of(catalog, scale, key) for key in (first, second)]
    for name in ("run", "seed", "images"):
        one, two = (entry[name] for entry in pair)
        if one != two:
            raise ValueError(
                f"{first} and {second} differ in {name} ({one} and {two}): only samplers of one "
                "run, seed and number of images are paired; tables compare trainings over seeds"
            )


def _open(scale: str, key: str) -> "Samples":
    """What the sample stage of an evaluation made."""
    import numpy as np

    from nextbasis.data.arrays import open_samples
    from nextbasis.scoring.paired import Samples

    images, labels = open_samples(result_folder(scale, "sample", key))
    return Samples(name=key, images=images, labels=np.array(labels))
