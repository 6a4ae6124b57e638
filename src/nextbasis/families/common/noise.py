"""Randomness of sampling: one stream per image, so that no image depends on its neighbours."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.families.common.execution import sent


def stream_seed(*parts: int | str) -> int:
    """A 63-bit seed from named parts, far apart for neighbouring parts."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


class ImageNoise:
    """Random numbers of a batch of images; row i comes from image i's own generator."""

    def __init__(self, seed: int, images: Sequence[int], device: torch.device) -> None:
        """`images` are the images' indices in the whole sample."""
        self.generators = [
            torch.Generator().manual_seed(stream_seed("image", seed, image)) for image in images
        ]
        self.device = device

    def normal(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Standard normal numbers of this shape for every image."""
        draws = [torch.randn(shape, generator=generator) for generator in self.generators]
        return sent(torch.stack(draws), self.device)

    def uniform(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Uniform numbers in [0, 1) of this shape for every image."""
        draws = [torch.rand(shape, generator=generator) for generator in self.generators]
        return sent(torch.stack(draws), self.device)

    def orders(self, num_tokens: int) -> Int[Tensor, "b n"]:
        """A uniformly random order for every image."""
        draws = [torch.randperm(num_tokens, generator=generator) for generator in self.generators]
        return sent(torch.stack(draws), self.device)
