"""Square crops of photographs, as in guided-diffusion (ADM), and padding of small pictures."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nextbasis.data.image_files import read_image


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """The central square of `size` pixels after shrinking the shorter side to `size`.

    ADM's rule: halve with a box filter while the shorter side is at least 2 * size, then resize
    bicubically, then cut (rounding the offsets down).
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    factor = size / min(image.size)
    shape = (round(image.width * factor), round(image.height * factor))
    image = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def fit(image: Image.Image, size: int, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """An 8-bit image as RGB (or grey for one channel), cropped to `size` pixels a side."""
    crop = centre_crop(image.convert(_mode(channels)), size)
    return np.asarray(crop).reshape(size, size, channels)


def load_photo(
    file: Path | BinaryIO, size: int, channels: int, name: str = ""
) -> UInt8[np.ndarray, "h w c"]:
    """Read an image file as RGB (or grey for one channel), cropped to `size` pixels a side.

    Raises: ValueError with the file's name (`name` if it is open already) if it is unreadable.
    """
    return fit(read_image(file, _mode(channels), name), size, channels)


def _mode(channels: int) -> str:
    """Pillow's name of the kind of pixels."""
    return "RGB" if channels == 3 else "L"


def pad(image: UInt8[np.ndarray, "h w c"], size: int) -> UInt8[np.ndarray, "s s c"]:
    """Put zeros (black) around an image, equally on opposite sides where possible.

    Raises: ValueError if the image is larger than `size`.
    """
    height, width, _ = image.shape
    if max(height, width) > size:
        raise ValueError(f"dataset.image_size is {size}, but images are {height}x{width}")
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(
        image, ((top, size - height - top), (left, size - width - left), (0, 0)), mode="constant"
    )
