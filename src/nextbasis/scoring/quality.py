"""Precision, recall and KID: scores that compare features pair by pair, block by block.

Precision is the share of generated images that lie in the neighbourhood of some real one, recall
the share of real images that lie in the neighbourhood of some generated one (Kynkäänniemi et al.
2019); a neighbourhood reaches as far as the k-th nearest of the image's own kind.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.support.arithmetic import distances

BLOCK = 500  # rows of a block of distances; bounds memory at BLOCK x images numbers
TILE = (256, 1024)  # of kernel values: they stay in the processor's cache between the steps


def radii(features: Float[Tensor, "n d"], neighbours: int) -> Float[Tensor, " n"]:
    """Distance from each image to its k-th nearest other one.

    Raises: ValueError if there are not more images than neighbours.
    """
    if len(features) <= neighbours:
        raise ValueError(
            f"evaluation.neighbours is {neighbours}: it needs more than as many generated and "
            f"reference images, got {len(features)}"
        )
    # One more than k: the nearest is the image itself. topk is far faster here than kthvalue.
    found = [
        distances(block, features).topk(neighbours + 1, largest=False).values[:, -1]
        for block in features.split(BLOCK)
    ]
    return torch.cat(found)


def precision_and_recall(
    made: Float[Tensor, "n d"],
    made_radii: Float[Tensor, " n"],
    real: Float[Tensor, "m d"],
    real_radii: Float[Tensor, " m"],
) -> tuple[float, float]:
    """Precision and recall of `made`; each pair of images is compared once."""
    inside = 0
    recalled = torch.zeros(len(real), dtype=torch.bool)
    for block, reach in zip(made.split(BLOCK), made_radii.split(BLOCK), strict=True):
        distance = distances(block, real)
        inside += int((distance <= real_radii).any(1).sum())
        recalled |= (distance <= reach[:, None]).any(0)
    # Shares in float32, as torch-fidelity's are.
    shares = torch.tensor([inside / len(made), int(recalled.sum()) / len(real)])
    return float(shares[0]), float(shares[1])


def kernel_distance(made: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> float:
    """KID (Bińkowski et al. 2018): unbiased squared MMD with the kernel (x.y / d + 1)^3.

    Of all pairs, unlike torch-fidelity's default, which averages over subsets of 1000.

    Raises: ValueError with fewer than two images on a side.
    """
    if min(len(made), len(real)) < 2:
        raise ValueError(f"KID needs 2 images of each kind, got {len(made)} and {len(real)}")
    return _within(made) + _within(real) - 2 * _kernel_sum(made, real) / len(made) / len(real)


def _within(features: Float[Tensor, "n d"]) -> float:
    squares = (features * features).sum(1).double()
    own = float(((squares / features.shape[1] + 1) ** 3).sum())
    count = len(features)
    return (_kernel_sum(features, features) - own) / count / (count - 1)


def _kernel_sum(one: Float[Tensor, "n d"], two: Float[Tensor, "m d"]) -> float:
    return sum(
        float(((rows @ columns.T).div_(one.shape[1]).add_(1) ** 3).sum(dtype=torch.float64))
        for rows in one.split(TILE[0])
        for columns in two.split(TILE[1])
    )
