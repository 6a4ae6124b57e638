"""`nextbasis compare`: two samplers of one checkpoint, image by image on the same noise."""

import numpy as np
from jaxtyping import Float, Int64

from nextbasis.config import EvaluationConfig, compose
from nextbasis.data.arrays import open_array
from nextbasis.files import result_folder
from nextbasis.metrics.extractor import Extractor, load_extractor
from nextbasis.metrics.features import extract
from nextbasis.metrics.frechet import frechet_distance, influences, paired_error
from nextbasis.metrics.reference import Reference, load_reference
from nextbasis.metrics.rules import as_classes
from nextbasis.provenance import device
from nextbasis.tables.inputs import Catalog, evaluation_of, load_catalog
from nextbasis.tables.measured import UNDECIDED, decided

Moved = tuple[float, Float[np.ndarray, " n"], Int64[np.ndarray, " n"]]


def compare(scale: str, first: str, second: str) -> dict[str, str]:
    """FID of the second evaluation minus that of the first, with its paired error; to be printed.

    Raises: ValueError unless both sample one run with the same seed and labels;
    FileNotFoundError for samples that were not made.
    """
    check_pair(load_catalog(), scale, first, second)
    config = compose("reference", [f"scale={scale}", f"evaluation={scale}"]).evaluation
    reference = load_reference(result_folder(scale, "reference"), config)
    extractor = load_extractor(config, device())
    (one, moved_one, labels), (two, moved_two, others) = (
        _moved(scale, key, reference, extractor, config) for key in (first, second)
    )
    if not np.array_equal(labels, others):
        raise ValueError(f"{first} and {second} have other labels: they cannot be paired")
    classes, _ = as_classes(labels, reference.index["num_classes"], config)
    error = paired_error(moved_one, moved_two, classes)
    difference = two - one
    return {
        f"FID {first}": f"{one:.4f}",
        f"FID {second}": f"{two:.4f}",
        "difference": f"{difference:+.4f} ± {error:.4f} (paired standard error)",
        "verdict": ("better" if difference < 0 else "worse")
        if decided(difference, error)
        else UNDECIDED,
    }


def check_pair(catalog: Catalog, scale: str, first: str, second: str) -> None:
    """Check that two evaluations share run, seed and number of images.

    Raises: ValueError naming what differs; two trainings are compared over seeds by the tables.
    """
    pair = [evaluation_of(catalog, scale, key) for key in (first, second)]
    for name in ("run", "seed", "images"):
        one, two = (entry[name] for entry in pair)
        if one != two:
            raise ValueError(
                f"{first} and {second} differ in {name} ({one} and {two}): only samplers of one "
                "run, seed and number of images are paired; tables compare trainings over seeds"
            )


def _moved(
    scale: str, key: str, reference: Reference, extractor: Extractor, config: EvaluationConfig
) -> Moved:
    """FID, and how far each image moves it."""
    source = result_folder(scale, "sample", key)
    images = open_array(source / "samples.npy", np.uint8, (None, None, None, None))
    labels = open_array(source / "labels.npy", np.int64, (len(images),))
    found = extract(images, extractor, config.batch_size, key)
    moved = influences(found.pooled.numpy(), found.statistics, reference.statistics)
    return frechet_distance(found.statistics, reference.statistics), moved, np.array(labels)
