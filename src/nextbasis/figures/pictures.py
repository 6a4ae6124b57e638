"""Draw what a basis does to pictures: samples from the same noise, images from few coefficients.

A plain rule, not a DVC stage. It reads samples, trained bases and a tokenizer.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from safetensors.torch import load_file
from torch import Tensor

from nextbasis.basis import make
from nextbasis.data.arrays import Dataset, as_images, open_samples
from nextbasis.data.pictures import to_uint8
from nextbasis.data.tokens import TokenCache
from nextbasis.figures.plots import save
from nextbasis.pipeline.catalog import Catalog, is_awaited, section
from nextbasis.support.endings import in_one_line
from nextbasis.support.files import result_folder
from nextbasis.tables import sofar
from nextbasis.tables.inputs import MODEL_FIGURES, Pair, pairs_of
from nextbasis.tokenizers.common.loading import load_tokenizer

SHOWN = 20  # samples of a system
IMAGES = 2  # of which the first coefficients are shown
NAMED = {  # bases of the papers that are the same for every model: title to name
    "raster order": "raster",
    "xAR's cells": "xar",
    "frequencies (FAR)": "far_dct",
    "principal components (KLT)": "klt",
}
TRAINING_IMAGES = 10_000  # that the KLT is measured on
CELL = 0.5  # inches of a picture
FIRST = "Two test images from their first coefficients, the others zero; bold: learned here"
SAME = "A column: one class, the same noise; bold: with a learned basis"
EDGE = 0.01  # of the width, left empty on both sides


@dataclass(frozen=True)
class Row:
    """Pictures from left to right; the label of a row of a learned basis is bold."""

    label: str
    pictures: UInt8[np.ndarray, "k h w c"]
    learned: bool = False


def evenly(count: int, wanted: int) -> list[int]:
    """Positions of at most `wanted` of `count` things, evenly spaced from the first one on."""
    return [i * count // wanted for i in range(min(count, wanted))]


def samples(scale: str, pairs: Sequence[Pair]) -> Iterator[Row]:
    """Samples of each system of each pair: a column is one class and one noise.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    for pair in pairs:
        for ending, key in (("", pair.baseline), (" + BAR", pair.system)):
            images, _ = open_samples(result_folder(scale, "sample", key))
            shown = np.asarray(images[evenly(len(images), SHOWN)])
            yield Row(pair.label + ending, shown, learned=key == pair.system)


class Prefixes:
    """Test images, and what a tokenizer makes of the first coefficients of their tokens."""

    def __init__(self, scale: str, tokens: str) -> None:
        """Read them.

        Raises: FileNotFoundError or ValueError naming the file.
        """
        self.tokenizer = load_tokenizer(result_folder(scale, "tokenizer", tokens))
        self.cache = TokenCache(result_folder(scale, "tokens", tokens))
        data = Dataset(result_folder(scale, "dataset"))
        every = evenly(len(np.unique(data.test_labels)), IMAGES)
        classes = np.unique(data.test_labels)[every]
        chosen = [int(np.flatnonzero(data.test_labels == label)[0]) for label in classes]
        images = as_images(data.test_images[chosen], torch.device("cpu"))
        self.grid, self.x = self.tokenizer.layout.grid, self.tokenizer.encode(images)
        count = self.x.shape[1]
        self.lengths = [2**power for power in range(count.bit_length()) if 2**power < count]

    def named(self, name: str) -> tuple[Tensor, Tensor]:
        """A and S of a named basis, in raster order.

        Raises: ValueError if the grid cannot have it.
        """
        every = max(1, len(self.cache.labels) // TRAINING_IMAGES)
        options: dict[str, Any] = {"tokens": self.cache.expected(every)} if name == "klt" else {}
        basis = make(name, *self.grid, **options)
        return basis.A.float(), basis.S.float()

    def learned(self, folder: Path) -> tuple[Tensor, Tensor]:
        """A of a trained model and its inverse, in raster order."""
        tensors = load_file(folder / "model.safetensors")
        a = torch.empty_like(tensors["basis"])
        a[:, tensors["host_order"]] = tensors["basis"]
        return a, torch.linalg.pinv(a)

    @torch.inference_mode()
    def pictures(
        self, a: Float[Tensor, "m n"], s: Float[Tensor, "n m"]
    ) -> UInt8[np.ndarray, "k h w c"]:
        """For each image those of its first 1, 2, 4, … coefficients, then that of all."""
        kept = torch.stack([s[:, :length] @ a[:length] for length in (*self.lengths, len(a))])
        tokens = torch.einsum("knp,ipd->iknd", kept, self.x).flatten(0, 1)
        decoded = torch.cat([self.tokenizer.decode(part) for part in tokens.split(16)])
        return to_uint8(decoded, "round").transpose(0, 2, 3, 1)


def prefixes(scale: str, pairs: Sequence[Pair]) -> tuple[list[Row], list[str]]:
    """A row for every basis, and the captions of its columns.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    shown = Prefixes(scale, pairs[0].tokens)
    rows: list[Row] = []
    for title, name in NAMED.items():
        try:
            rows.append(Row(title, shown.pictures(*shown.named(name))))
        except ValueError:  # the grid has no such basis
            continue
    for pair in (pair for pair in pairs if pair.tokens == pairs[0].tokens):
        folder = result_folder(scale, "train", pair.run)
        made = shown.pictures(*shown.learned(folder))
        rows.append(Row(f"learned by {pair.label}", made, learned=True))
    return rows, [*map(str, shown.lengths), "all"] * IMAGES


def strips(rows: Sequence[Row], captions: Sequence[str], title: str) -> Figure:
    """Rows of pictures under one line of captions."""
    columns = max(len(row.pictures) for row in rows)
    size = (CELL * columns + 2.0, CELL * len(rows) + 0.5)
    inside = (EDGE, 0, 1 - 2 * EDGE, 1)
    layout = ConstrainedLayoutEngine(w_pad=0.005, h_pad=0.03, wspace=0, hspace=0, rect=inside)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout=layout)
    figure.suptitle(title, x=EDGE, ha="left", fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    for axis, caption in zip(axes[0], captions, strict=False):
        axis.set_title(caption, fontsize=7, pad=2)
    for line, row in zip(axes, rows, strict=True):
        line[0].set_ylabel(row.label, rotation=0, ha="right", va="center", fontsize=8)
        line[0].yaxis.label.set_fontweight("bold" if row.learned else "normal")
        for axis, image in zip(line, row.pictures, strict=False):
            axis.imshow(image[..., 0] if image.shape[2] == 1 else image, "gray", vmin=0, vmax=255)
    return figure


def made_pairs(catalog: Catalog, scale: str) -> list[Pair]:
    """The pairs to draw; of a scale half done those that wait for no result, the others are said.

    Raises: ValueError for a scale without a pair.
    """
    pairs = pairs_of(catalog, scale)
    if not pairs:
        raise ValueError(f"scale {scale} has no system without and with a learned basis")
    evals = section(catalog, scale)["evals"]
    left = [
        pair
        for pair in pairs
        if any(
            is_awaited(catalog, scale, evals[key]["system"]) for key in (pair.baseline, pair.system)
        )
    ]
    if left:
        print(f"left out, not run yet: {', '.join(pair.label for pair in left)}")
    return [pair for pair in pairs if pair not in left]


def draw(catalog: Catalog, scale: str, folder: Path) -> None:
    """Write both pictures of one scale into `folder`.

    Raises: ValueError for a scale without a pair; FileNotFoundError naming what was not made.
    """
    if not (pairs := made_pairs(catalog, scale)):
        raise FileNotFoundError(f"no pair of scale {scale} is made in all of its seeds yet")

    def first_coefficients() -> Figure:
        rows, captions = prefixes(scale, pairs)
        return strips(rows, captions, FIRST)

    def same_noise() -> Figure:
        return strips(list(samples(scale, pairs)), [], SAME)

    save(dict(zip(MODEL_FIGURES, (same_noise, first_coefficients), strict=True)), folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and draw; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m nextbasis.figures.pictures", description=__doc__
    )
    parser.add_argument("--scale", default="cpu", help="a folder of config/scales")
    parser.add_argument("--out", type=Path, help="folder; default: results/SCALE/figures")
    sofar.add_so_far(parser)
    options = parser.parse_args(arguments)
    with in_one_line():
        folder = options.out or result_folder(options.scale, "figures")
        draw(sofar.chosen_catalog(options), options.scale, folder)


if __name__ == "__main__":
    main()
