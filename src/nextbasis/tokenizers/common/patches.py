"""Square patches of pixels as tokens."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def patchify(images: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b n d"]:
    """Non-overlapping patches as tokens in raster order, channel-major inside a token."""
    return rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)


def unpatchify(tokens: Float[Tensor, "b n d"], patch: int, height: int) -> Float[Tensor, "b c h w"]:
    """The inverse of patchify for a grid of `height` rows of tokens."""
    return rearrange(tokens, "b (h w) (c p q) -> b c (h p) (w q)", p=patch, q=patch, h=height)
