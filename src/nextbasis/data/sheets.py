"""Pictures in rows and columns with a caption above each, as PNG."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from nextbasis.support.files import write_atomic

SIDE, GAP, CAPTION, TITLE = 0.8, 0.06, 0.17, 0.3  # inches; of a caption, each line
LINE, LINES = 14, 4  # characters of a line of a caption, and lines shown of it
FONT, TITLE_FONT = 7.5, 9  # points
DPI = 150


def save_sheet(
    images: UInt8[np.ndarray, "n h w c"],
    captions: Sequence[str],
    columns: int,
    title: str,
    path: Path,
) -> None:
    """Write square images, `columns` a row; a row without captions leaves no room for them.

    A long caption is broken into lines, of which the first few are shown.

    Raises: ValueError unless there are images, and as many captions.
    """
    if not len(images) or len(images) != len(captions) or columns < 1:
        raise ValueError(
            f"a sheet needs images, a caption for each, and columns, "
            f"got {len(images)}, {len(captions)} and {columns}"
        )
    starts = range(0, len(images), columns)
    captions = ["\n".join(wrap(caption, LINE, max_lines=LINES)) for caption in captions]
    rooms = [CAPTION * _lines(captions[start : start + columns]) for start in starts]
    width = columns * (SIDE + GAP) + GAP
    height = TITLE + sum(rooms) + len(rooms) * (SIDE + GAP) + GAP
    figure = Figure(figsize=(width, height))
    figure.text(GAP / width, 1 - TITLE / 2 / height, title, fontsize=TITLE_FONT, va="center")
    bottom = height - TITLE
    for start, room in zip(starts, rooms, strict=True):
        bottom -= room + SIDE
        for column, position in enumerate(range(start, min(start + columns, len(images)))):
            left = GAP + column * (SIDE + GAP)
            axis = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
            image = images[position]
            axis.imshow(image[..., 0] if image.shape[2] == 1 else image, "gray", vmin=0, vmax=255)
            axis.set_title(captions[position], fontsize=FONT, pad=2)
            axis.set_axis_off()
        bottom -= GAP
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=DPI))


def _lines(captions: Sequence[str]) -> int:
    """Lines of the longest caption of a row."""
    return max(len(caption.splitlines()) for caption in captions)
