"""Whether a generated image is recognisably of its caption: retrieval among the real test images.

An image is looked up by the Euclidean distance of its pooled features. It is found if the nearest
test image has its caption, and found among five if one of the five nearest has. Of several test
images with the caption the nearest counts. A tie with an image of another caption counts against
it, so that images that all look alike find nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from nextbasis.support.arithmetic import distances

BLOCK = 500  # images that are looked up at once; bounds memory
TIE = 1e-4  # relative difference of distances that rounding of the features explains
NOWHERE = -1  # rank of an image whose caption no test image has
TOP = 5


@dataclass(kw_only=True)
class Gallery:
    """The real test images among which generated ones are looked up."""

    features: Float[Tensor, "m d"]
    labels: Int64[np.ndarray, " m"]  # numbers of captions


def ranks(
    made: Float[Tensor, "n d"], labels: Int[np.ndarray, " n"], gallery: Gallery
) -> Int64[np.ndarray, " n"]:
    """How many test images of other captions are as near as the nearest of the image's own.

    0 where the image is found; NOWHERE where no test image has its caption.
    """
    real, captions = gallery.features.double(), torch.from_numpy(gallery.labels)
    found = []
    wanted = torch.from_numpy(np.array(labels, np.int64))
    for block, its in zip(made.split(BLOCK), wanted.split(BLOCK), strict=True):
        distance = distances(block.double(), real)
        own = its[:, None] == captions
        nearest = distance.masked_fill(~own, torch.inf).amin(1)
        nearer = (distance <= nearest[:, None] * (1 + TIE)) & ~own
        found.append(torch.where(own.any(1), nearer.sum(1), NOWHERE))
    return torch.cat(found).numpy()


def retrieval(
    made: Float[Tensor, "n d"], labels: Int[np.ndarray, " n"], gallery: Gallery
) -> dict[str, float]:
    """Shares of the images that are found and found among five; empty if none can be.

    Images whose caption no test image has are left out.
    """
    found = ranks(made, labels, gallery)
    found = found[found != NOWHERE]
    if not len(found):
        return {}
    return {
        "retrieval": float((found == 0).mean()),
        f"retrieval_top{TOP}": float((found < TOP).mean()),
    }


def describe_retrieval(labels: Int[np.ndarray, " n"], gallery: Gallery) -> dict[str, Any]:
    """What `retrieval` is of, as it stands in the protocol of score.json.

    Chance is that of an image drawn from all test images: 1 / their number where each caption has
    one of them.
    """
    captions, counts = np.unique(gallery.labels, return_counts=True)
    known = np.isin(labels, captions)
    own = counts[np.searchsorted(captions, labels[known])]
    return {
        "retrieval_images": int(known.sum()),  # with a caption that some test image has
        "retrieval_among": len(gallery.labels),
        "retrieval_chance": float(own.mean() / len(gallery.labels)) if known.any() else None,
        "retrieval_ties": "count against",
    }
