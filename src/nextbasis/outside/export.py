"""`nextbasis export-samples`: samples of an evaluation as other evaluation programs read them."""

from pathlib import Path

import numpy as np

from nextbasis.config import compose
from nextbasis.data.arrays import open_array
from nextbasis.files import result_folder, sha256, write_atomic
from nextbasis.metrics.rules import permutation


def export_samples(scale: str, key: str, out: Path) -> dict[str, str]:
    """Write `arr_0` (uint8, NHWC), as ADM's program reads it, and the labels; what to print.

    In the seeded order in which the pipeline scores them, never in order of class: ADM's program
    splits a file for IS as it stands, and parts of few classes each would score far too low.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    if out.exists():
        raise ValueError(f"{out} exists already")
    if out.suffix != ".npz":
        raise ValueError(f"{out} must end in .npz")
    source = result_folder(scale, "sample", key)
    images = open_array(source / "samples.npy", np.uint8, (None, None, None, None))
    labels = open_array(source / "labels.npy", np.int64, (len(images),))
    seed = compose("reference", [f"scale={scale}", f"evaluation={scale}"]).evaluation.seed
    order = permutation(len(images), seed)

    def write(path: Path) -> None:
        np.savez(path, arr_0=images[order], labels=labels[order])

    write_atomic(out, write)
    return {
        "written": str(out),
        "images": str(len(images)),
        "order": f"permuted by seed {seed}",
        "sha256": sha256(out),
    }
