"""BAR's residual objective: early basis vectors should recover as much of the image as they can.

The paper's sum over prefixes of the predicted sequence,

    sum_k |x - A^T M_k yhat|^2,    M_k keeps the first k tokens and zeroes the rest,

is computed in O(n^2) for any A. The paper weights it with the noise level's alpha-bar ratio. That
weight makes the error of a token equal to the error e of the host's own prediction target (noise
or velocity), so we set yhat := y + e: the prediction part then is the host's loss weighted by
n - k + 1, whatever noise level each token drew, and the energy part is the paper's. (Open in the
paper: whether all tokens share one noise level; here each host keeps its own choice.)
"""

import torch
from jaxtyping import Float
from torch import Tensor


def prefix_error(
    x: Float[Tensor, "b n d"], y_hat: Float[Tensor, "b n d"], weight: Float[Tensor, "n n"]
) -> Float[Tensor, " b"]:
    """sum_k |x - A^T M_k yhat|^2 for each sample, exact for any A, in O(n^2 d).

    Expanding the square, token l is in the n - l + 1 prefixes k >= l and the pair (l, m) in
    n - max(l, m) + 1 of them.
    """
    n = x.shape[1]
    index = torch.arange(n, device=x.device)
    in_prefixes = (n - index).to(x.dtype)
    pairs = (n - torch.maximum(index[:, None], index[None, :])).to(x.dtype)
    projection = (y_hat * torch.einsum("kn,bnd->bkd", weight, x)).sum(2)
    gram = torch.einsum("lm,bmd->bld", pairs * (weight @ weight.T), y_hat)
    return (
        n * x.square().sum((1, 2))
        - 2 * (projection * in_prefixes).sum(1)
        + (y_hat * gram).sum((1, 2))
    )


def residual_loss(
    x: Float[Tensor, "b n d"],
    y: Float[Tensor, "b n d"],
    error: Float[Tensor, "b n d"],
    weight: Float[Tensor, "n n"],
) -> Float[Tensor, ""]:
    """Residual objective, scaled so that its prediction part is a weighted mean of the host's loss.

    `error` is the host's prediction error, zero at tokens that it was given.
    """
    n, d = x.shape[1:]
    return prefix_error(x, y + error, weight).mean() / (d * n * (n + 1) / 2)
