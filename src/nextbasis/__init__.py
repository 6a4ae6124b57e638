"""nextbasis: autoregressive image generation on y = A x, reproducible end to end."""

from pathlib import Path
from typing import TYPE_CHECKING

from nextbasis.support.instructions import pin

if TYPE_CHECKING:
    from nextbasis.sampling.model import Model

__version__ = "0.1.0"

pin()  # before anything imports torch


def load(
    model: str | Path, *, scale: str = "", tokenizer: str | Path = "", sampler: str = ""
) -> "Model":
    """A run, or the folder of an imported or shared model, that makes images: see `sampling.load`.

    Raises: FileNotFoundError or ValueError naming what is missing and how to give it.
    """
    from nextbasis.sampling import model as sampling  # torch takes seconds to import

    return sampling.load(model, scale=scale, tokenizer=tokenizer, sampler=sampler)
