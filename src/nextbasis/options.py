"""What the commands are told: arguments, help, examples; light, so that --help needs no torch."""

import argparse
from pathlib import Path
from typing import Any

from nextbasis.families import names
from nextbasis.outside.options import add_parsers

FAMILIES = (*names(), "kl16", "maskgit_vqgan")
SHELLS = ("bash", "zsh", "tcsh")
EXAMPLES = {
    "import": "nextbasis import xar xAR-B.pth models/xar_b",
    "export": "nextbasis export models/xar_b xAR-B-again.pth",
    "share": "nextbasis share xar_b_bar shared/xar_b_bar --scale cpu",
    "plan": "nextbasis plan --scale imagenet256 --run xar_b_bar",
    "score": 'nextbasis score samples.npz --reference statistics.npz --as "VAR-d30"',
    "reference": 'nextbasis reference images/ statistics/ --computed-on "ImageNet train"',
    "export-samples": "nextbasis export-samples xar_b_bar samples.npz",
    "compare": "nextbasis compare mar_iter_learned_04 mar_iter_learned_08",
    "geneval": "nextbasis geneval results.jsonl --run xar_b_bar",
    "bases": "nextbasis bases --grid 8x8",
    "diff": "nextbasis diff HEAD~1 HEAD --html diff.html",
    "doctor": "nextbasis doctor --scale cpu",
    "completion": 'eval "$(nextbasis completion bash)"',
}


def command_line() -> argparse.ArgumentParser:
    """All commands, each with an example."""
    width = max(map(len, EXAMPLES))
    examples = [f"  {name:<{width}}  {example}" for name, example in EXAMPLES.items()]
    parser = argparse.ArgumentParser(
        prog="nextbasis",
        description="Read and write official checkpoints; score samples; list the bases; "
        "estimate what a run will cost; compare versions; look for what is missing. Run it from "
        "the repository's root. Results are made by `make tables`.",
        epilog="examples:\n" + "\n".join(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_import(commands)
    _add_export(commands)
    _add_share(commands)
    _add_plan(commands)
    _add_bases(commands)
    _add_diff(commands)
    _add_doctor(commands)
    _add_completion(commands)
    add_parsers(commands)
    return parser


def _add_import(commands: Any) -> None:
    command = commands.add_parser(
        "import",
        help="turn an official checkpoint into a model of this package",
        description="Read an official checkpoint without running code from it, check every "
        "tensor's name and shape, and write safetensors and the model's config into a new folder. "
        "Averaged weights (model_ema) are taken where there are some.",
        epilog="Sizes are read off the shapes. What shapes do not tell (MAR's numbers of heads, "
        "dropout, …) is that of the released model of these sizes; for other models give it by "
        "--model or KEY=VALUE. A tokenizer's result is a file for the config key "
        "tokenizer.weights. Example: nextbasis import mar checkpoint-last.pth models/mar_b",
    )
    command.add_argument("family", metavar="FAMILY", choices=FAMILIES, help=", ".join(FAMILIES))
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="the official file")
    command.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist")
    command.add_argument(
        "values", metavar="KEY=VALUE", nargs="*", help="values of the config, such as dropout=0.1"
    )
    command.add_argument(
        "--model",
        metavar="NAME",
        default="",
        help="config that the checkpoint must fit: mar_b, another name below config/model, a file",
    )
    command.add_argument(
        "--grid", metavar="ROWSxCOLUMNS", default="", help="of the tokens, if it is no square"
    )


def _add_export(commands: Any) -> None:
    command = commands.add_parser(
        "export",
        help="write an imported model back in the official layout",
        description="Write what `nextbasis import` made as a PyTorch file that the official code "
        "reads; the tensors are those imported, bit for bit.",
    )
    command.add_argument("folder", metavar="FOLDER", type=Path, help="made by nextbasis import")
    command.add_argument("out", metavar="OUT", type=Path, help="file to write; must not exist")


def _add_share(commands: Any) -> None:
    command = commands.add_parser(
        "share",
        help="write a trained run as a folder to hand on",
        description="Write weights (safetensors), resolved config, model card with the measured "
        "numbers and licence notes, references and checksums into a new folder.",
    )
    command.add_argument("run", metavar="RUN", help="of the catalog, such as xar_b_bar")
    command.add_argument("out", metavar="FOLDER", type=Path, help="to make; must not exist")
    command.add_argument("--scale", default="cpu", help="section of config/catalog.yaml (cpu)")


def _add_plan(commands: Any) -> None:
    command = commands.add_parser(
        "plan",
        help="what the runs of the catalog will cost",
        description="Print parameters, tokens, FLOPs per image, steps, memory per GPU and "
        "estimated GPU-hours of a scale's runs, and what was assumed. Nothing is trained, "
        "downloaded or allocated.",
    )
    command.add_argument("--scale", default="cpu", help="section of config/catalog.yaml (cpu)")
    command.add_argument(
        "--run", metavar="KEY", action="append", default=[], help="one run, repeatable; else all"
    )
    command.add_argument(
        "--gpus",
        metavar="N",
        type=_count,
        help="GPUs that share a batch (as few as end in a week)",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--json", dest="form", action="store_const", const="json", help="all numbers, for programs"
    )
    form.add_argument(
        "--runtimes",
        dest="form",
        action="store_const",
        const="runtimes",
        help="minutes and GPUs that a cluster should give each job: config/runtimes.yaml",
    )
    form.add_argument(
        "--markdown",
        dest="form",
        action="store_const",
        const="markdown",
        help="hours, dollars, storage and claims of one of the papers' scales: docs/paper-scale.md",
    )
    form.add_argument(
        "--order",
        dest="form",
        action="store_const",
        const="order",
        help="the same page's order in which to run all of these scales",
    )
    command.set_defaults(form="table")


def _add_bases(commands: Any) -> None:
    command = commands.add_parser(
        "bases",
        help="the named bases y = A x and their numbers on a grid",
        description="Print method, shape, rank, kind, condition number, inverse error, noise gain "
        "and number of steps of each basis. The options are those that `make` takes from Python.",
    )
    command.add_argument("names", metavar="NAME", nargs="*", help="bases to list; else all")
    command.add_argument(
        "--grid", metavar="ROWSxCOLUMNS", default="16x16", help="of the tokens (16x16)"
    )


def _add_diff(commands: Any) -> None:
    command = commands.add_parser(
        "diff",
        help="what changed between two code versions, and what did it",
        description="Compare all recorded numbers, verdicts, tables, parameters and pictures of "
        "two versions, without checking either out. The exit status is 1 if a number moved by more "
        "than the threshold or a verdict flipped, 2 for bad input, else 0.",
    )
    command.add_argument("old", metavar="REV1", nargs="?", default="HEAD", help="revision (HEAD)")
    command.add_argument(
        "new", metavar="REV2", nargs="?", default="", help="revision (the working tree)"
    )
    command.add_argument(
        "--threshold", type=float, default=2.0, help="in standard deviations over seeds (2)"
    )
    command.add_argument("--html", metavar="FILE", type=Path, help="write a page with pictures")
    command.add_argument("--json", action="store_true", help="all of it, for programs")


def _add_doctor(commands: Any) -> None:
    command = commands.add_parser(
        "doctor",
        help="check Python, packages, tools, disk, data and weights",
        description="Check whether this machine and folder have what a scale needs, and say what "
        "to do about what they lack. The exit status is 1 if something needs attention.",
    )
    command.add_argument("--scale", default="cpu", help="section of config/catalog.yaml (cpu)")


def _add_completion(commands: Any) -> None:
    command = commands.add_parser(
        "completion",
        help="print a script that completes commands in a shell",
        description="Print a script for the shell; a line in its startup file makes it permanent.",
    )
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got '{text}'")
    return int(text)
