"""`nextbasis reference`: a folder of reference statistics from images or from another's file."""

import argparse
from typing import Any

from nextbasis.commands.arguments import add_protocol, check_text, num_classes, read_path
from nextbasis.commands.report import collected_warnings, print_report

EXAMPLE = 'nextbasis reference images/ statistics/ --computed-on "ImageNet train"'


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "reference",
        help="reference statistics from images, or from another's file of statistics",
        description="Compute mean and covariance of the features of all images in a .npy or .npz "
        "file or a folder (in natural order, 2.png before 10.png), or import a file of ADM (mu, "
        "sigma, mu_s, sigma_s, arr_0) or MAR (mu, sigma). The result is a folder for `nextbasis "
        "score --reference`.",
    )
    command.add_argument("source", metavar="SOURCE", type=read_path)
    command.add_argument(
        "out", metavar="OUT", type=read_path, help="folder to make; must not exist"
    )
    command.add_argument(
        "--computed-on",
        required=True,
        metavar="TEXT",
        help="which images these are, such as 'ImageNet 256x256, training set'; printed with FID",
    )
    add_protocol(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Write the new folder and print how many images it is of."""
    from nextbasis.scoring.brought import choose_evaluation, make_reference, read_labels

    check_text("--computed-on", given.computed_on)
    classes = num_classes(given)  # first: it knows the scale
    config = choose_evaluation(given.scale, given.protocol, given.weights)
    labels = read_labels(given.labels)
    with collected_warnings() as warned:
        report = make_reference(given.source, given.out, config, labels, classes, given.computed_on)
    print_report(report | warned)
    return 0
