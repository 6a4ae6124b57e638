"""`nextbasis sample`: images from a trained, shared or imported model, as a picture or an array."""

import argparse
import time
from pathlib import Path
from typing import Any

from nextbasis.commands.arguments import read_path, read_values
from nextbasis.commands.report import print_report

EXAMPLE = "nextbasis sample models/xar_b --tokenizer models/kl16 --classes 207,360 -o dogs.png"
SHOWN = 10  # classes where none are named
EACH = 8


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "sample",
        help="make images with a trained or imported model",
        description="Sample images from a run, or from a folder that `nextbasis import` or "
        "`nextbasis share` made, with the settings of its evaluation or of the released model. "
        "Nothing in results/ is touched.",
        epilog="Image i depends on its class, i and the seed alone. An official checkpoint takes "
        "three commands: nextbasis import kl16 kl16.ckpt models/kl16; nextbasis import xar "
        "xAR-B.pth models/xar_b; nextbasis sample models/xar_b --tokenizer models/kl16",
    )
    command.add_argument(
        "model", metavar="MODEL", type=read_path, help="a run, such as xar_b_bar, or a folder"
    )
    command.add_argument(
        "values",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],
        help="settings of the sampler, such as guidance=1.5 batch_size=8",
    )
    command.add_argument(
        "--classes",
        metavar="LIST",
        default="",
        help=f"such as 207,360 or 0-9 (all, or {SHOWN} evenly spaced); numbers of captions where "
        "the model reads captions",
    )
    command.add_argument("--each", metavar="N", type=int, default=EACH, help=f"images ({EACH})")
    command.add_argument("--seed", type=int, default=0, help="(0)")
    command.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=read_path,
        default=Path("samples.png"),
        help=".png: a row a class; .npz: arr_0 (N, H, W, C) and labels (samples.png)",
    )
    command.add_argument("--scale", default="", help="of the run (the default scale)")
    command.add_argument(
        "--tokenizer", metavar="PATH", default="", help="folder or file, for imported models"
    )
    command.add_argument(
        "--sampler", metavar="NAME", default="", help="a recipe, such as imagenet256/xar_b"
    )
    command.set_defaults(action=run, takes=lambda word: "=" in word)


def run(given: argparse.Namespace) -> int:
    """Sample, write the file and print what made it.

    Raises: FileNotFoundError, FileExistsError or ValueError naming what is wrong.
    """
    import numpy as np

    from nextbasis.data.pictures import save_grid
    from nextbasis.sampling.model import load
    from nextbasis.stages import choose_algorithms
    from nextbasis.support.files import check_new, sha256, write_atomic
    from nextbasis.support.progress import Progress

    out = given.out
    if out.suffix not in (".png", ".npz"):
        raise ValueError(f"--out must end in .png or .npz, got {out}")
    check_new(out)
    if given.each < 1:
        raise ValueError(f"--each must be at least 1, got {given.each}")
    choose_algorithms(reproducible=True)
    settings = read_values([*given.values, *given.late], "guidance=1.5", "sampler")
    model = load(given.model, scale=given.scale, tokenizer=given.tokenizer, sampler=given.sampler)
    classes = read_classes(given.classes, model.num_classes)
    labels = [label for label in classes for _ in range(given.each)]
    began = time.perf_counter()
    progress, made = Progress(len(labels), "images", "sample"), []
    for images in model.batches(labels, given.seed, **settings):
        made.append(images)
        progress.update(len(images))
    progress.close()
    images = np.concatenate(made)

    def write(path: Path) -> None:
        np.savez(path, arr_0=images, labels=np.array(labels))

    if out.suffix == ".png":
        save_grid(images, out, columns=given.each)
    else:
        write_atomic(out, write)
    shown = {**vars(model.sampler), **settings}
    left_out = ("family", "num_images", "latency_images", "compile")
    words = " ".join(f"{name}={value}" for name, value in shown.items() if name not in left_out)
    report = {"model": str(model.folder), "tokenizer": model.made_by, "sampler": words}
    report |= {"images": f"{len(labels)}: {given.each} of each class {_words(classes)}"}
    report |= {"seed": str(given.seed), "seconds": f"{time.perf_counter() - began:.1f}"}
    print_report(report | {"wrote": str(out), "sha256": sha256(out)})
    return 0


def read_classes(text: str, count: int) -> list[int]:
    """Classes of a list of numbers and ranges, both ends included; without one, some of all.

    Raises: ValueError naming the part that is neither, that counts down or that leaves [0, count).
    """
    if not text:
        return sorted({round(i * (count - 1) / max(1, SHOWN - 1)) for i in range(SHOWN)})
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(
                f"--classes must be numbers or ranges such as 207,360 or 0-9; '{part}'"
            )
        least, most = int(first), int(last if dash else first)
        if most < least:
            raise ValueError(f"--classes: '{part}' counts down; write {most}-{least}")
        if most >= count:
            raise ValueError(f"--classes must lie in [0, {count}), got '{part}'")
        found += range(least, most + 1)
    return found


def _words(classes: list[int]) -> str:
    return ", ".join(map(str, classes))
