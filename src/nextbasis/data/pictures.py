"""Pictures for eyes and scores: float images to 8 bits, grids as PNG."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from nextbasis.support.files import write_atomic

ROUNDINGS = ("round", "truncate")
MIN_CELL = 64  # pixels a side below which a grid enlarges its pictures
GAP = 2  # pixels between pictures, before enlargement
WHITE = 255


def to_uint8(images: Float[Tensor, "b c h w"], rounding: str) -> UInt8[np.ndarray, "b c h w"]:
    """Images in [-1, 1] as bytes, clipped; `rounding` is round (MAR, xAR) or truncate (RAR).

    The axes stay as they are.

    Raises: ValueError if a pixel is not a finite number or `rounding` is unknown.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}; got '{rounding}'")
    bad = (~images.isfinite().flatten(1).all(1)).sum().item()
    if bad:
        raise ValueError(f"{bad} of {len(images)} images have pixels that are not finite")
    scaled = ((images.float() + 1) * 127.5).clamp(0, 255)
    whole = scaled.round() if rounding == "round" else scaled.floor()
    return whole.to(torch.uint8).cpu().numpy()


def save_grid(images: UInt8[np.ndarray, "n h w c"], path: Path, columns: int) -> None:
    """Write a PNG with `columns` pictures a row, small ones enlarged by a whole factor.

    Raises: ValueError unless there are uint8 images with one or three channels.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"a grid needs uint8 images of shape (N, H, W, 1 or 3), "
            f"got {images.dtype} {images.shape}"
        )
    if len(images) == 0 or columns < 1:
        raise ValueError(f"a grid needs images and columns, got {len(images)} and {columns}")
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    canvas = np.full(
        (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), WHITE, np.uint8
    )
    for position, image in enumerate(images):
        top = GAP + position // columns * (height + GAP)
        left = GAP + position % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = image
    factor = max(1, -(-MIN_CELL // max(height, width)))
    canvas = canvas.repeat(factor, axis=0).repeat(factor, axis=1)
    picture = Image.fromarray(canvas[..., 0] if channels == 1 else canvas)
    write_atomic(path, lambda temporary: picture.save(temporary, format="PNG"))
