"""`nextbasis compare`: two evaluations, image by image on the same noise and seed by seed."""

import argparse
import math
from typing import TYPE_CHECKING, Any

from nextbasis.commands.arguments import add_scale
from nextbasis.commands.report import print_report
from nextbasis.pipeline.catalog import Catalog, evals_of, evaluation_of, load_catalog
from nextbasis.support.files import result_folder

if TYPE_CHECKING:
    from nextbasis.claims.effects import Effect
    from nextbasis.scoring.paired import Samples

RATE = 0.05  # of false verdicts
THESE_ALONE = ", of these two trainings alone"
EXAMPLE = "nextbasis compare xar_b xar_b_bar"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "compare",
        help="FID difference of two runs, or of two samplers of one, with its error",
        description="Compare two evaluations of one seed and number of images. Their images share "
        "labels and noise, so the difference of two samplers of one run is known far better than "
        "each FID. Two runs are two trainings: what another seed would give is told by the seeds "
        "that both systems have, and the verdict is theirs.",
    )
    command.add_argument("first", metavar="FIRST", help="an entry of evals in the catalog")
    command.add_argument("second", metavar="SECOND")
    add_scale(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Print the FID of the second evaluation minus that of the first, with its error.

    Raises: ValueError unless both have one seed, number of images and labels; FileNotFoundError
    for samples or scores that were not made.
    """
    from nextbasis.claims.effects import PAIRED, difference

    scale, first, second = given.scale, given.first, given.second
    catalog = load_catalog()
    check_pair(catalog, scale, first, second)
    report, by_image = by_noise(scale, first, second)
    entries = [evaluation_of(catalog, scale, key) for key in (first, second)]
    if entries[0]["run"] == entries[1]["run"]:
        print_report(report | {"verdict": _verdict(by_image)})
        return 0
    report["difference"] += THESE_ALONE
    report["differ in"] = settings(scale, entries[0]["run"], entries[1]["run"])
    before, after = (_by_seed(catalog, scale, entry["system"]) for entry in entries)
    over_seeds = difference(after, before) if before and after else by_image
    if over_seeds.test == PAIRED and over_seeds.known:
        value, se, number = over_seeds.value, over_seeds.se, over_seeds.num_seeds
        report["over seeds"] = f"{value:+.4f} ± {se:.4f} (standard error of {number} pairs)"
        report["verdict"] = _verdict(over_seeds)
    else:
        report["verdict"] = of_one_pair(by_image)
    print_report(report)
    return 0


def by_noise(scale: str, first: str, second: str) -> tuple[dict[str, str], "Effect"]:
    """FIDs of two evaluations whose samples share labels and noise, as a report; the difference.

    Raises: FileNotFoundError for samples that were not made; ValueError if their labels differ.
    """
    from nextbasis.claims.effects import Effect
    from nextbasis.config import compose
    from nextbasis.scoring.paired import paired_distances
    from nextbasis.scoring.reference import load_reference

    config = compose("reference", [f"scale={scale}", f"evaluation={scale}"]).evaluation
    reference = load_reference(result_folder(scale, "reference"), config)
    one, two, error = paired_distances(_open(scale, first), _open(scale, second), reference, config)
    report = {
        f"FID {first}": f"{one:.4f}",
        f"FID {second}": f"{two:.4f}",
        "difference": f"{two - one:+.4f} ± {error:.4f} (paired standard error)",
    }
    return report, Effect(two - one, error, math.inf, 1, "paired by image")


def settings(scale: str, first: str, second: str) -> str:
    """What two trainings were told differently; of another basis or family nothing below it."""
    from nextbasis.diff.causes import changes
    from nextbasis.families.common.checkpoint import CONFIG
    from nextbasis.support.files import read_json
    from nextbasis.support.words import listed

    paths = [result_folder(scale, "train", run) / CONFIG for run in (first, second)]
    if lacking := [str(path) for path in paths if not path.is_file()]:
        return f"not known without {' and '.join(lacking)}"
    before, after = (read_json(path) for path in paths)
    found = ["basis"] if before["basis"] != after["basis"] else []
    for told in (before, after):
        told |= {"key": "", "basis": ""}
    families = [told["model"]["family"] for told in (before, after)]
    if families[0] != families[1]:
        for told, family in zip((before, after), families, strict=True):
            told["model"] = {"family": family}
    return listed([*found, *changes(before, after)], "; ") or "nothing"


def of_one_pair(by_image: "Effect") -> str:
    """The verdict on two trainings of one seed each."""
    return f"{_verdict(by_image)} at this seed; one pair tells of no other seed"


def _verdict(effect: Any) -> str:
    """Better, worse, or undecided: what an interval of confidence 1 - RATE says."""
    from nextbasis.claims.effects import half_width
    from nextbasis.claims.verdict import UNDECIDED

    if abs(effect.value) <= half_width(effect, RATE):
        return UNDECIDED
    return "better" if effect.value < 0 else "worse"


def _by_seed(catalog: Catalog, scale: str, system: str) -> dict[int, float]:
    """FID of every seed of a system that is scored."""
    from nextbasis.tables.measured import read_score

    found = {}
    for key, entry in evals_of(catalog, scale, system).items():
        if (result_folder(scale, "score", key) / "score.json").is_file():
            found[entry["seed"]] = read_score(scale, "score", key)["values"]["fid"]
    return found


def check_pair(catalog: Catalog, scale: str, first: str, second: str) -> None:
    """Check that two evaluations share seed and number of images.

    Raises: ValueError naming what differs.
    """
    pair = [evaluation_of(catalog, scale, key) for key in (first, second)]
    for name in ("seed", "images"):
        one, two = (entry[name] for entry in pair)
        if one != two:
            raise ValueError(
                f"{first} and {second} differ in {name} ({one} and {two}): only evaluations of "
                "one seed and number of images share labels and noise"
            )


def _open(scale: str, key: str) -> "Samples":
    """What the sample stage of an evaluation made."""
    import numpy as np

    from nextbasis.data.arrays import open_samples
    from nextbasis.scoring.paired import Samples

    images, labels = open_samples(result_folder(scale, "sample", key))
    return Samples(name=key, images=images, labels=np.array(labels))
