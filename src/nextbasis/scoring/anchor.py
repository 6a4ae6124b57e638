"""Images whose scores show what numbers mean: those of a crude generator, and blurred real ones.

The crude generator is a Gaussian of low rank for each class.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from nextbasis.support.arithmetic import root

RANK = 24
NAME = f"ppca{RANK}"  # class-conditional principal components of pixels
MAX_IMAGES = 2_000  # of a class that the components are fitted to
BLURS = (0.5, 0.8)  # pixels: standard deviations of the filters
KERNEL = 4  # standard deviations that a filter reaches
MAX_NUMBERS = 2**26  # pixels of one class held in memory, which limits large images further


def sample_anchor(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    per_class: int,
    seed: int,
) -> tuple[UInt8[np.ndarray, "m h w c"], Int64[np.ndarray, " m"]]:
    """`per_class` images of each class, sorted by class, in memory."""
    generator = torch.Generator().manual_seed(seed)
    classes = np.unique(labels)
    most = min(MAX_IMAGES, MAX_NUMBERS // int(np.prod(images.shape[1:])))
    out = np.empty((len(classes) * per_class, *images.shape[1:]), np.uint8)
    for position, label in enumerate(classes):
        members = np.flatnonzero(labels == label)[:most]
        pixels = torch.from_numpy(np.array(images[members])).flatten(1).float()
        mean, factors = fit_gaussian(pixels)
        noise = torch.randn(per_class, len(factors), generator=generator)
        made = (mean + noise @ factors).clamp(0, 255).round().to(torch.uint8).numpy()
        out[position * per_class : (position + 1) * per_class] = made.reshape(-1, *images.shape[1:])
    return out, np.repeat(classes, per_class).astype(np.int64)


def blurred(
    images: UInt8[np.ndarray, "n h w c"], sigma: float, batch_size: int
) -> UInt8[np.ndarray, "n h w c"]:
    """The images after a Gaussian filter whose standard deviation is `sigma` pixels, in memory."""
    kernel = 2 * math.ceil(KERNEL * sigma) + 1
    out = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        pixels = torch.from_numpy(np.array(images[part])).permute(0, 3, 1, 2).float()
        soft = gaussian_blur(pixels, [kernel, kernel], [sigma, sigma])
        out[part] = soft.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return out


def fit_gaussian(
    pixels: Float[Tensor, "n p"],
) -> tuple[Float[Tensor, " p"], Float[Tensor, "r p"]]:
    """Mean and the leading components, each scaled by its standard deviation.

    The smaller one of covariance (p, p) and Gram matrix (n, n) is decomposed.
    """
    mean = pixels.mean(0)
    centred = (pixels - mean) / (len(pixels) - 1) ** 0.5
    rank = min(RANK, len(pixels) - 1, pixels.shape[1])
    if len(pixels) > pixels.shape[1]:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        return mean, vectors[:, -rank:].T * root(values[-rank:, None].clamp(min=0))
    # The Gram matrix's eigenvectors, carried over by the data, have length sqrt(eigenvalue).
    _, vectors = torch.linalg.eigh(centred @ centred.T)
    return mean, vectors[:, -rank:].T @ centred
