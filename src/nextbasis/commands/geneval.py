"""`nextbasis geneval`: what GenEval's own program found in an evaluation's images, as a score.

GenEval (Ghosh et al. 2023) looks with an object detector whether an image shows what its prompt
says. Its program evaluate_images.py (djghosh13/geneval) runs elsewhere, since the detector needs
other libraries; it writes one line of JSON for each image.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from nextbasis.commands.arguments import add_scale, read_path
from nextbasis.commands.report import print_report
from nextbasis.pipeline.catalog import evaluation_of, load_catalog
from nextbasis.support.files import read_json_lines, result_folder, sha256, write_json
from nextbasis.support.words import listed

EXAMPLE = "nextbasis geneval results.jsonl --run xar_b_bar"
TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
KEYS = ("filename", "tag", "prompt", "correct", "reason", "metadata")


@dataclass(frozen=True, kw_only=True)
class Image:
    """What the program said of one image."""

    tag: str  # which ability its prompt asks for, one of TAGS
    prompt: str  # with all that is asked of it: JSON
    correct: bool


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "geneval",
        help="what GenEval's own program found in an evaluation's images, as a score",
        description="Read the results that evaluate_images.py of djghosh13/geneval wrote (one line "
        "of JSON an image) and write the share of correct images of each tag and their mean, the "
        "overall score, to results/SCALE/geneval/EVALUATION/score.json.",
    )
    command.add_argument(
        "results", metavar="RESULTS", type=read_path, help="that program's --outfile"
    )
    command.add_argument(
        "--run",
        metavar="EVALUATION",
        required=True,
        help="whose images they are: an entry of evals in the catalog",
    )
    add_scale(command, "t2i")
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Write results/<scale>/geneval/<key>/score.json and print it.

    Raises: FileNotFoundError or ValueError naming the file, line or option.
    """
    path, scale, key = given.results, given.scale, given.run
    evaluation_of(load_catalog(), scale, key)
    images = read_results(path)
    counts = {tag: sum(image.tag == tag for image in images) for tag in TAGS}
    prompts = len({image.prompt for image in images})
    values = accuracies(images)
    score = {
        "values": values,
        "protocol": {
            "name": "geneval",
            "overall": "mean of the accuracies of the tags",
            "num_images": len(images),
            "num_prompts": prompts,
            "images_per_tag": counts,
        },
        "provenance": {
            "results": path.name,
            "results_sha256": sha256(path),
            "program": "evaluate_images.py of djghosh13/geneval; its version is not in its results",
        },
    }
    target = result_folder(scale, "geneval", key) / "score.json"
    write_json(target, score)
    shown = {name: f"{value:.5f}" for name, value in values.items()}
    shown |= {"images": str(len(images)), "prompts": str(prompts), "score": str(target)}
    print_report(shown)
    return 0


def read_results(path: Path) -> list[Image]:
    """The lines of the program's file.

    Raises: FileNotFoundError or ValueError naming the file, its line and what is wrong with it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; evaluate_images.py --outfile writes it")
    images = [_image(found, f"{path}, line {number}") for number, found in read_json_lines(path)]
    if not images:
        raise ValueError(f"{path} holds results of 0 images")
    if absent := [tag for tag in TAGS if all(image.tag != tag for image in images)]:
        raise ValueError(
            f"{path} has no image of {listed(absent)}: the overall score is the mean over all "
            f"of {', '.join(TAGS)}"
        )
    return images


def accuracies(images: list[Image]) -> dict[str, float]:
    """Share of correct images of each tag, and their mean: GenEval's overall score."""
    found = {
        f"geneval_{tag}": fmean(image.correct for image in images if image.tag == tag)
        for tag in TAGS
    }
    return {"geneval": fmean(found.values())} | found


def _image(found: Any, where: str) -> Image:
    absent = [key for key in KEYS if not isinstance(found, dict) or key not in found]
    if absent:
        raise ValueError(f"{where} has no {listed(absent)}; expected {', '.join(KEYS)}")
    if found["tag"] not in TAGS:
        raise ValueError(f"{where}: tag must be one of {', '.join(TAGS)}, got '{found['tag']}'")
    if not isinstance(found["correct"], bool):
        raise ValueError(f"{where}: correct must be true or false, got {found['correct']!r}")
    # The program writes JSON inside a string; other versions of it an object.
    metadata = found["metadata"]
    prompt = metadata if isinstance(metadata, str) else json.dumps(metadata, sort_keys=True)
    return Image(tag=found["tag"], prompt=prompt, correct=found["correct"])
