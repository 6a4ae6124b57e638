"""What the commands about samples are told; light, so that --help needs no torch."""

import argparse
from pathlib import Path
from typing import Any

COMMANDS = ("score", "reference", "export-samples", "compare", "prompts", "geneval")
NOT_RECORDED = "not recorded"


def add_parsers(commands: Any) -> None:
    """Add the commands to those of the command line."""
    _add_score(commands)
    _add_reference(commands)
    _add_export(commands)
    _add_compare(commands)
    _add_prompts(commands)
    _add_geneval(commands)


def _add_score(commands: Any) -> None:
    command = commands.add_parser(
        "score",
        help="score anyone's samples: they become a row of the tables",
        description="Score images in a .npy or .npz file (arr_0, uint8, NHWC) or a folder of PNGs, "
        "and add them to config/external.yaml: tables then show them as measured, in the row of "
        "that name (its label or the last part of its published reference) or in a row of their "
        "own. Everything that can be known is checked before the first image is scored.",
        epilog='Example: nextbasis score samples.npz --reference statistics.npz --as "VAR-d30"',
    )
    command.add_argument("samples", metavar="SAMPLES", type=Path)
    command.add_argument(
        "--reference",
        metavar="PATH",
        type=Path,
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
    _add_protocol(command)


def _add_reference(commands: Any) -> None:
    command = commands.add_parser(
        "reference",
        help="reference statistics from images, or from another's file of statistics",
        description="Compute mean and covariance of the features of all images in a .npy or .npz "
        "file or a folder, or import a file of ADM (mu, sigma, mu_s, sigma_s, arr_0) or MAR (mu, "
        "sigma). The result is a folder for `nextbasis score --reference`.",
    )
    command.add_argument("source", metavar="SOURCE", type=Path)
    command.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist")
    command.add_argument(
        "--computed-on",
        required=True,
        metavar="TEXT",
        help="which images these are, such as 'ImageNet 256x256, training set'; printed with FID",
    )
    _add_protocol(command)


def _add_protocol(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--scale",
        default="imagenet256",
        help="whose evaluation (config/evaluation) and tables (imagenet256)",
    )
    command.add_argument(
        "--protocol", default="", help="instead of the evaluation's: adm, mar, rar"
    )
    command.add_argument("--weights", default="", metavar="FILE", help="of the extractor")
    command.add_argument("--labels", metavar="FILE", type=Path, help=".npy, one class per image")
    command.add_argument("--classes", type=int, default=1000, help="number of classes (1000)")


def _add_export(commands: Any) -> None:
    command = commands.add_parser(
        "export-samples",
        help="write an evaluation's samples as ADM's evaluation program reads them",
        description="Write samples as arr_0 of a .npz file in a seeded permutation, never sorted "
        "by class.",
    )
    command.add_argument("key", metavar="EVALUATION", help="an entry of evals in the catalog")
    command.add_argument("out", metavar="OUT", type=Path, help="file to write; must not exist")
    command.add_argument("--scale", default="cpu", help="section of config/catalog.yaml (cpu)")


def _add_compare(commands: Any) -> None:
    command = commands.add_parser(
        "compare",
        help="FID difference of two samplers of one checkpoint, with its paired error",
        description="Compare two evaluations of the same run, seed and number of images. Their "
        "images share labels and noise, so their difference is known far better than each FID.",
    )
    command.add_argument("first", metavar="FIRST", help="an entry of evals in the catalog")
    command.add_argument("second", metavar="SECOND")
    command.add_argument("--scale", default="cpu", help="section of config/catalog.yaml (cpu)")


def _add_prompts(commands: Any) -> None:
    command = commands.add_parser(
        "prompts",
        help="images of prompts from a file, laid out as GenEval's program reads them",
        description="Sample images of every prompt with an evaluation's model and sampler. OUT "
        "gets a folder of each prompt with metadata.jsonl and samples/0000.png and on; prompts "
        "whose folder is there are left out.",
        epilog="Example: nextbasis prompts mar_l_text_bar evaluation_metadata.jsonl images/",
    )
    command.add_argument("key", metavar="EVALUATION", help="an entry of evals in the catalog")
    command.add_argument(
        "file", metavar="FILE", type=Path, help="one JSON object a line, each with a prompt"
    )
    command.add_argument("out", metavar="OUT", type=Path, help="folder to make or to go on with")
    command.add_argument("--images", type=int, default=4, help="of each (4: GenEval's)")
    command.add_argument("--scale", default="t2i", help="section of config/catalog.yaml (t2i)")


def _add_geneval(commands: Any) -> None:
    command = commands.add_parser(
        "geneval",
        help="what GenEval's own program found in an evaluation's images, as a score",
        description="Read the results that evaluate_images.py of djghosh13/geneval wrote (one line "
        "of JSON an image) and write the share of correct images of each tag and their mean, the "
        "overall score, to results/SCALE/geneval/EVALUATION/score.json.",
    )
    command.add_argument("results", metavar="RESULTS", type=Path, help="that program's --outfile")
    command.add_argument(
        "--run",
        metavar="EVALUATION",
        required=True,
        help="whose images they are: an entry of evals in the catalog",
    )
    command.add_argument("--scale", default="t2i", help="section of config/catalog.yaml (t2i)")
