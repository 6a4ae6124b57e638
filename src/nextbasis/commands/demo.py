"""`nextbasis demo`: from nothing to a picture in a minute or two, without network or results."""

import argparse
import time
from pathlib import Path
from typing import Any

from nextbasis.commands.arguments import read_path
from nextbasis.commands.report import print_report
from nextbasis.commands.workspace import run_stage, workspace

EXAMPLE = "nextbasis demo"
SCALE = "tiny"  # digits that scikit-learn ships, models of 0.3 million parameters
RUNS = {"without a basis": "xar_b", "with a learned basis": "xar_b_bar"}
# What the minute is spent on: the scale's own training proves that the pipeline runs, no more.
TRAIN = ("train.steps=400", "train.lr=0.01", "train.ema_decay=0.97")
SAMPLE = ("sampler.num_images=20", "sampler.num_steps=10", "sampler.guidance=1.5")
PICTURE = "demo.png"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "demo",
        help="train two tiny models and picture their samples: a minute or two",
        description="Train a tiny xAR on scikit-learn's digits twice, without a basis and with a "
        "learned one, sample both from the same noise, and picture the samples below real digits. "
        "A minute or two on one core; nothing is downloaded, and nothing is written outside the "
        "folder.",
        epilog="The picture shows how things work. It is no result: one seed, a minute of "
        "training, digits of 8x8 pixels.",
    )
    command.add_argument(
        "-o", "--out", metavar="FOLDER", type=read_path, default=Path("demo"), help="to make (demo)"
    )
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Make the data, train, sample, draw, and say what the picture shows.

    Raises: FileExistsError if the folder is there; FileNotFoundError outside the repository.
    """
    from nextbasis.pipeline.catalog import load_catalog
    from nextbasis.pipeline.stagelist import load_stages, with_makers

    if given.out.exists():
        raise FileExistsError(f"{given.out} exists; delete it or choose another folder with -o")
    stages = load_stages(load_catalog(), only=[SCALE])
    samples = [s for s in stages if s.kind == "sample" and s.key in RUNS.values()]
    needed = {stage.name for sample in samples for stage in with_makers(stages, sample)}
    began, more = time.perf_counter(), {"train": TRAIN, "sample": SAMPLE}
    with workspace(given.out, []):
        for stage in (stage for stage in stages if stage.name in needed):
            print(f"{stage.kind} {stage.key}".strip(), flush=True)
            run_stage(stage.kind, [*stage.arguments, *more.get(stage.kind, ())])
        _draw(Path(PICTURE))
    report = {"picture": str(given.out / PICTURE)}
    report["it shows"] = (
        "a row of real digits, and two of samples: a column has one class and noise"
    )
    report["it is"] = "no result: one seed, a minute of training, digits of 8x8 pixels"
    report["seconds"] = f"{time.perf_counter() - began:.0f}"
    report["next"] = "make tables SCALE=tiny"
    print_report(report)
    return 0


def _draw(path: Path) -> None:
    """Real digits above the samples of both runs, from class to class."""
    import numpy as np

    from nextbasis.data.arrays import Dataset, open_samples
    from nextbasis.figures.pictures import Row, strips
    from nextbasis.support.files import result_folder, write_atomic

    data, rows = Dataset(result_folder(SCALE, "dataset")), []
    for label, run in RUNS.items():
        images, labels = open_samples(result_folder(SCALE, "sample", run))
        rows.append(Row(label, np.asarray(images)))
    real = np.array(data.test_labels)
    chosen = [np.flatnonzero(real == label)[i % 2] for i, label in enumerate(labels)]
    rows.insert(0, Row("real digits", np.asarray(data.test_images[chosen])))
    figure = strips(rows, [str(label) for label in labels], "a column: one class, one noise")
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=150))
