"""Draw samples with their nearest training images, and both on the axes of the real features.

A plain rule, not a DVC stage. One pass over the training images; what is kept does not grow with
their number.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from nextbasis.config import compose
from nextbasis.data.arrays import Dataset, open_samples
from nextbasis.figures import feature_plots
from nextbasis.figures.plots import save
from nextbasis.pipeline.catalog import Catalog, headline_evals, load_catalog
from nextbasis.scoring.extractor import Extractor, load_extractor
from nextbasis.scoring.feature_space import Nearest, principal_axes, share_nearer
from nextbasis.scoring.features import stream
from nextbasis.scoring.reference import load_reference
from nextbasis.scoring.rules import find_rule
from nextbasis.scoring.statistics import Statistics
from nextbasis.support.endings import in_one_line
from nextbasis.support.files import result_folder
from nextbasis.support.provenance import device
from nextbasis.tables.inputs import FEATURE_FIGURES

CHECKED = 1_000  # images of each system, and of the test images, that are looked up
TRAIN_IMAGES = 100_000  # at most, evenly spaced: where there are more, a pass takes hours on a CPU
NEIGHBOURS = 5  # shown of each sample
CLASSES = 3  # evenly spaced ones, of which the first sample is shown
LINE = 16  # characters of a caption in a line
TAIL = 0.01  # the nearest of the test images


@dataclass(kw_only=True)
class Checked:
    """Images and what the search found for them."""

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]
    features: Float[Tensor, "n d"]
    distances: Float[Tensor, "n k"]
    positions: Int64[Tensor, "n k"]  # of the nearest among the training images searched


def evenly(count: int, most: int) -> Int64[np.ndarray, " m"]:
    """Positions of at most `most` of `count` things, evenly spaced from the first one on."""
    kept = min(count, most)
    return np.arange(kept) * count // kept


def read_samples(catalog: Catalog, scale: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of each headline system's first seed: what is looked up of them.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    found = {}
    for system, key in headline_evals(catalog, scale).items():
        images, labels = open_samples(result_folder(scale, "sample", key))
        chosen = evenly(len(images), CHECKED)
        found[system] = images[chosen], labels[chosen]
    return found


def search(
    sets: dict[str, tuple[np.ndarray, np.ndarray]],
    training: UInt8[np.ndarray, "n h w c"],
    extractor: Extractor,
    batch_size: int,
) -> list[Checked]:
    """The nearest training images of every image of every set.

    Raises: ValueError if features are not finite or there are too few training images.
    """
    features = {
        name: torch.cat([part.pooled for part in stream(images, extractor, batch_size, name)])
        for name, (images, _) in sets.items()
    }
    nearest = Nearest(torch.cat(list(features.values())), NEIGHBOURS)
    for batch in stream(training, extractor, batch_size, "training images"):
        nearest.update(batch.pooled)
    lengths = [len(part) for part in features.values()]
    distances, positions = (part.split(lengths) for part in nearest.result())
    return [
        Checked(
            name=name,
            images=images,
            labels=labels,
            features=features[name],
            distances=distances[index],
            positions=positions[index],
        )
        for index, (name, (images, labels)) in enumerate(sets.items())
    ]


def block(
    one: Checked, test: Checked, training: UInt8[np.ndarray, "n h w c"], names: Sequence[str]
) -> feature_plots.Neighbours:
    """The first sample of some classes, and the one nearest to any training image."""
    classes = np.unique(one.labels)
    shown = {
        names[label]: int(np.flatnonzero(one.labels == label)[0])
        for label in classes[evenly(len(classes), CLASSES)]
    }
    shown["nearest"] = int(one.distances[:, 0].argmin())
    rows = [
        feature_plots.Row(
            label,
            np.concatenate([one.images[[at]], training[one.positions[at].numpy()]]),
            one.distances[at].tolist(),
        )
        for label, at in shown.items()
    ]
    half, tail = (
        share_nearer(one.distances[:, 0], test.distances[:, 0], quantile)
        for quantile in (0.5, TAIL)
    )
    title = f"{one.name}\n{half:.1%} nearer than the median test image,"
    title += f" {tail:.1%} than the nearest {TAIL:.0%}"
    return feature_plots.Neighbours(title, rows)


def clouds(
    test: Checked, others: Sequence[Checked], statistics: Statistics
) -> tuple[np.ndarray, list[feature_plots.Cloud], np.ndarray]:
    """Real test images and each system's on the first two axes of the training images."""
    axes, shares = principal_axes(statistics, 2)

    def project(one: Checked) -> Float[np.ndarray, "n 2"]:
        return (one.features.double().numpy() - statistics.mu) @ axes

    return project(test), [feature_plots.Cloud(one.name, project(one)) for one in others], shares


def draw(catalog: Catalog, scale: str, folder: Path) -> None:
    """Write both figures of one scale into `folder`.

    Raises: FileNotFoundError or ValueError naming the file and what would be right.
    """
    evaluation = compose("reference", [f"scale={scale}", f"evaluation={scale}"]).evaluation
    data = Dataset(result_folder(scale, "dataset"))
    reference = load_reference(result_folder(scale, "reference"), evaluation)
    extractor = load_extractor(evaluation, device())
    training = data.train_images[:: -(-len(data.train_images) // TRAIN_IMAGES)]
    chosen = evenly(len(data.test_images), CHECKED)
    sets = {"test images": (data.test_images[chosen], data.test_labels[chosen])}
    sets |= read_samples(catalog, scale)
    test, *others = search(sets, training, extractor, evaluation.batch_size)
    names = [f"class {number}" for number in range(data.num_classes)]
    if find_rule(evaluation).captioned:
        names = ["\n".join(wrap(caption, LINE)) for caption in data.captions]
    blocks = [block(one, test, training, names) for one in others]
    median, near = (float(test.distances[:, 0].quantile(q)) for q in (0.5, TAIL))
    title = f"Nearest of {len(training):,} training images by features of {extractor.name}\n"
    title += f"(test images: median distance {median:.2f}, nearest {TAIL:.0%} within {near:.2f})"
    makers = {
        "neighbours.png": lambda: feature_plots.neighbours(blocks, title),
        "features_pca.png": lambda: feature_plots.principal_components(
            *clouds(test, others, reference.statistics)
        ),
    }
    assert tuple(makers) == FEATURE_FIGURES
    save(makers, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and draw; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m nextbasis.figures.neighbours", description=__doc__
    )
    parser.add_argument("--scale", default="cpu", help="a folder of config/scales")
    parser.add_argument("--out", type=Path, help="folder; default: results/SCALE/figures")
    options = parser.parse_args(arguments)
    with in_one_line():
        folder = options.out or result_folder(options.scale, "figures")
        draw(load_catalog(), options.scale, folder)


if __name__ == "__main__":
    main()
