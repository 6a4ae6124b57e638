"""Which views of a training image are tokenised: it alone, its mirror image too, or crops of it."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

WIDER = 1.1  # side of the images that ten crops are cut from, in sides of a crop (RAR's code)
WIDER_NINE = 1.125  # the same of nine crops (VAR's code)


@dataclass(frozen=True)
class Views:
    """How an image becomes several of the tokenizer's size."""

    count: int
    cut: Callable[[Float[Tensor, "b c h w"], int], list[Float[Tensor, "b c s s"]]]
    wider: float  # side of the image needed, in sides of a view

    def side(self, size: int) -> int:
        """Pixels a side of the image needed for views of `size`: 281 for ten crops of 256."""
        return int(size * self.wider)


def single(images: Float[Tensor, "b c s s"], size: int) -> list[Float[Tensor, "b c s s"]]:
    """The image as it is, for pictures that mean something else when mirrored, such as arrows."""
    return [images]


def flip(images: Float[Tensor, "b c s s"], size: int) -> list[Float[Tensor, "b c s s"]]:
    """The image as it is and mirrored (MAR, and RAR's ablations)."""
    return [images, images.flip(3)]


def ten_crop(images: Float[Tensor, "b c h w"], size: int) -> list[Float[Tensor, "b c s s"]]:
    """The four corners row by row and the centre, then the same of the mirrored image (RAR)."""
    height, width = images.shape[2] - size, images.shape[3] - size
    corners = [(0, 0), (0, width), (height, 0), (height, width)]
    places = [*corners, (round(height / 2), round(width / 2))]
    return [
        part[:, :, top : top + size, left : left + size]
        for part in (images, images.flip(3))
        for top, left in places
    ]


def nine_crop(images: Float[Tensor, "b c h w"], size: int) -> list[Float[Tensor, "b c s s"]]:
    """Crops at the edges and half-way between them, row by row; none is mirrored.

    Differs from VAR: it cuts anywhere, anew each time that an image is seen, and has no cache.
    """
    tops, lefts = (
        (0, round((side - size) / 2), side - size) for side in (images.shape[2], images.shape[3])
    )
    return [images[:, :, top : top + size, left : left + size] for top in tops for left in lefts]


VIEWS = {
    "single": Views(1, single, 1.0),
    "flip": Views(2, flip, 1.0),
    "nine_crop": Views(9, nine_crop, WIDER_NINE),
    "ten_crop": Views(10, ten_crop, WIDER),
}
